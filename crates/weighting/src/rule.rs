//! What a rule is: three kinds by what they see, one trait for what all may declare or keep.

use mtl_nash::Gram;
use mtl_task::Progress;

use crate::{CachedWeights, Class, Jacobian, Needs, Outcome, State, StepInputs};

/// What every rule may declare or keep.
pub trait Rule: Send + Sync {
    /// What the rule asks of a step.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The weights that still hold at `progress`, if the rule wants no new evidence there. Losses rules never hold.
    fn cached(&self, _progress: Progress) -> Option<CachedWeights<'_>> {
        None
    }

    /// The losses of the same batches after the optimizer's step; called only if [`Needs::losses_after_step`].
    fn losses_after_step(&mut self, _losses: &[f64]) {}

    /// All that the next step depends on, for resuming.
    fn state(&self) -> State {
        State::new()
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// If the state is not one of this rule over as many tasks.
    fn restore(&mut self, _state: &State) -> Result<(), String> {
        Ok(())
    }
}

/// A rule that sees losses alone.
pub trait FromLosses: Rule {
    /// One weight per task from finite losses.
    fn balance(&mut self, seen: &StepInputs) -> Outcome;

    /// One weight per task; a loss that is not finite is [`Status::NonFinite`](crate::Status) and leaves the rule's state as it was.
    fn weights(&mut self, seen: &StepInputs) -> Outcome {
        match seen.losses.iter().position(|loss| !loss.is_finite()) {
            Some(task) => Outcome::non_finite(seen.losses.len(), task),
            None => self.balance(seen),
        }
    }
}

/// A rule that sees the inner products of the task gradients.
pub trait FromGram: Rule {
    /// One weight per task from a finite Gram matrix.
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome;

    /// One weight per task. With [`Needs::mini_batches`] = n, `gram` has n·K rows, draw after draw, and the weights apply to
    /// draw 0. What is not finite is [`Status::NonFinite`](crate::Status) and leaves the rule's state as it was.
    fn weights(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome {
        let tasks = gram.tasks() / self.needs().mini_batches;
        let broken = |row: usize| !(0..gram.tasks()).all(|other| gram.at(row, other).is_finite());
        let own = |row: usize| !gram.at(row, row).is_finite();
        let corrupted = seen.losses.iter().position(|loss| !loss.is_finite());
        // A row with a broken diagonal is to blame before those that merely met it.
        match corrupted
            .or_else(|| (0..gram.tasks()).find(|&row| own(row)).or_else(|| (0..gram.tasks()).find(|&row| broken(row))))
        {
            Some(row) => Outcome::non_finite(tasks, row % tasks),
            None => self.balance(gram, seen),
        }
    }
}

/// A rule that sees every coordinate of the task gradients, and writes its direction itself.
pub trait FromJacobian: Rule {
    /// Writes the direction in consecutive chunks, `write(start column, values)`, from finite losses.
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome;

    /// Writes the direction in consecutive chunks, `write(start column, values)`. The outcome's weights may be empty.
    /// What is not finite is [`Status::NonFinite`](crate::Status), writes nothing and leaves the rule's state as it was.
    fn direction(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let mut broken = seen.losses.iter().position(|loss| !loss.is_finite());
        crate::jacobian::chunks(mini_batches, |_, mini_batches| {
            let bad = |row: &Vec<f64>| !row.iter().all(|value| value.is_finite());
            broken = broken.or_else(|| mini_batches.iter().find_map(|rows| rows.iter().position(bad)));
        });
        match broken {
            Some(task) => Outcome::non_finite(0, task),
            None => self.combine(mini_batches, seen, write),
        }
    }
}

/// A rule by what it sees.
pub enum Weighting {
    /// Sees the losses.
    Losses(Box<dyn FromLosses>),
    /// Sees the Gram matrix of the task gradients.
    Gram(Box<dyn FromGram>),
    /// Sees the task gradients.
    Jacobian(Box<dyn FromJacobian>),
}

impl Weighting {
    /// The kind, which is the cost.
    pub fn class(&self) -> Class {
        match self {
            Self::Losses(_) => Class::Losses,
            Self::Gram(_) => Class::Gram,
            Self::Jacobian(_) => Class::Jacobian,
        }
    }

    /// What the rule asks of a step.
    pub fn needs(&self) -> Needs {
        self.rule().needs()
    }

    /// The weights that still hold at `progress`, if the rule wants no new evidence there.
    pub fn cached(&self, progress: Progress) -> Option<CachedWeights<'_>> {
        self.rule().cached(progress)
    }

    /// Hands over the losses after the step, if the rule asked for them.
    pub fn losses_after_step(&mut self, losses: &[f64]) {
        if self.needs().losses_after_step && losses.iter().all(|loss| loss.is_finite()) {
            self.rule_mut().losses_after_step(losses);
        }
    }

    /// All that the next step depends on.
    pub fn state(&self) -> State {
        self.rule().state()
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// If the state is not one of this rule over as many tasks.
    pub fn restore(&mut self, state: &State) -> Result<(), String> {
        self.rule_mut().restore(state)
    }

    fn rule(&self) -> &dyn Rule {
        match self {
            Self::Losses(rule) => rule.as_ref(),
            Self::Gram(rule) => rule.as_ref(),
            Self::Jacobian(rule) => rule.as_ref(),
        }
    }

    fn rule_mut(&mut self) -> &mut dyn Rule {
        match self {
            Self::Losses(rule) => rule.as_mut(),
            Self::Gram(rule) => rule.as_mut(),
            Self::Jacobian(rule) => rule.as_mut(),
        }
    }
}
