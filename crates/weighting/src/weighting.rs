//! What a rule is: three kinds by what they see, one trait for what all may declare or keep.

use mtl_nash::Gram;
use mtl_task::{Progress, TaskId};

use crate::state::remap;
use crate::{CachedWeights, Jacobian, Needs, Outcome, State, StateShape, StepInputs, TaskVectors};

/// What a rule sees, which is what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// K losses. The trainer differentiates each task on its own only in steps that log the norms and cosines.
    Losses,
    /// The K×K inner products of the task gradients.
    Gram,
    /// Every coordinate of the task gradients.
    Jacobian,
}

impl Class {
    /// The word for lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Losses => "losses",
            Self::Gram => "gram",
            Self::Jacobian => "jacobian",
        }
    }
}

/// What every rule may declare or keep.
///
/// # Contract
/// A rule is built for K tasks, decides among these K in every step, and is deterministic: the same state and inputs
/// give the same weights. Its state is kept by task: [`WeightingRule::shapes`] says how each of its vectors belongs to
/// the tasks, and that is enough for steps that leave tasks out and for sets of tasks that change (see
/// [`GroupRule`](crate::GroupRule)): a step over a subset is decided by a rule over that subset alone, which starts from
/// the state of those tasks and hands it back; the state of the others is not touched.
pub trait WeightingRule: Send + Sync {
    /// What the rule asks of a step.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The weights that still hold at `progress`, if the rule needs no new gradients there. Rules over losses never hold.
    fn cached(&self, _progress: Progress) -> Option<CachedWeights> {
        None
    }

    /// The losses of the same batches after the optimizer's step; called only if [`Needs::losses_after_step`].
    fn losses_after_step(&mut self, _losses: &[f64]) {}

    /// All that the next step depends on, for resuming.
    fn state(&self) -> State {
        State::new()
    }

    /// How the vectors of [`WeightingRule::state`] belong to the tasks, by name. What is not listed is
    /// [`StateShape::Whole`].
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[]
    }

    /// The vectors as wide as the Jacobian, if the rule carries some. They are part of `state`; through this door a step
    /// over a subset takes them out and puts them back without a copy.
    fn vectors(&mut self) -> Option<&mut TaskVectors> {
        None
    }

    /// `state`, of this rule over the tasks `old`, as the state of this rule over the tasks `new`, which `self` is,
    /// freshly built: tasks in both keep theirs, new ones start as in `self`. Over the same tasks it is `state` itself.
    ///
    /// # Errors
    /// If the state is not one of this rule over `old`.
    fn remap(&self, state: &State, old: &[TaskId], new: &[TaskId]) -> Result<State, String> {
        remap(self.shapes(), &self.state(), state, old, new)
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
pub trait FromLosses: WeightingRule {
    /// One weight per task from finite losses.
    fn balance(&mut self, seen: &StepInputs) -> Outcome;

    /// Whether the weights of a step are the same whatever the losses of that step are, which then only enter the
    /// state: the weighted losses can be differentiated one after the other, none kept until the last is known.
    fn weights_precede_losses(&self) -> bool {
        false
    }

    /// One weight per task; a loss that is not finite is [`Status::NonFinite`](crate::Status) and leaves the rule's state as it was.
    /// A weight that overflows is the same, but the state is then spent.
    fn weights(&mut self, seen: &StepInputs) -> Outcome {
        match seen.losses.iter().position(|loss| !loss.is_finite()) {
            Some(task) => Outcome::non_finite(seen.losses.len(), task),
            None => self.balance(seen).certified(),
        }
    }
}

/// A rule that sees the inner products of the task gradients.
pub trait FromGram: WeightingRule {
    /// One weight per task from a finite Gram matrix.
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome;

    /// One weight per task. With [`Needs::mini_batches`] = n, `gram` has n·K rows, mini-batch after mini-batch, and the weights apply to
    /// the first. What is not finite is [`Status::NonFinite`](crate::Status) and leaves the rule's state as it was; a weight
    /// that overflows is the same, but the state is then spent.
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
            None => self.balance(gram, seen).certified(),
        }
    }
}

/// A rule that sees every coordinate of the task gradients, and writes its direction itself.
pub trait FromJacobian: WeightingRule {
    /// Writes the direction in consecutive chunks, `write(start column, values)`, from finite losses.
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome;

    /// Writes the direction in consecutive chunks, `write(start column, values)`. The outcome's weights may be empty.
    /// What is not finite is [`Status::NonFinite`](crate::Status), writes nothing and leaves the rule's state as it was. A
    /// direction that overflows is the same, blamed on the task of the largest gradient; but the state is then spent, and
    /// what was written before is no direction.
    fn direction(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let mut broken = seen.losses.iter().position(|loss| !loss.is_finite());
        let mut largest = (0.0, 0);
        crate::jacobian::chunks(mini_batches, |_, mini_batches| {
            for (task, row) in mini_batches.iter().flat_map(|rows| rows.iter().enumerate()) {
                // NaN is no maximum, so the sum looks for it.
                let most = row.iter().fold(0.0f64, |most, value| most.max(value.abs()));
                if !(most + row.iter().map(|value| value * 0.0).sum::<f64>()).is_finite() {
                    broken = broken.or(Some(task));
                }
                if most > largest.0 {
                    largest = (most, task);
                }
            }
        });
        if let Some(task) = broken {
            return Outcome::non_finite(0, task);
        }
        let mut overflown = false;
        let outcome = self.combine(mini_batches, seen, &mut |start, part| {
            overflown |= !part.iter().all(|value| value.is_finite());
            if !overflown {
                write(start, part);
            }
        });
        if overflown {
            return Outcome { warning: outcome.warning, ..Outcome::non_finite(0, largest.1) };
        }
        outcome.certified()
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

    /// The weights that still hold at `progress`, if the rule needs no new gradients there.
    pub fn cached(&self, progress: Progress) -> Option<CachedWeights> {
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

    /// See [`WeightingRule::remap`]; `self` is the rule over `new`, freshly built.
    ///
    /// # Errors
    /// If the state is not one of this rule over `old`.
    pub fn remap(&self, state: &State, old: &[TaskId], new: &[TaskId]) -> Result<State, String> {
        self.rule().remap(state, old, new)
    }

    /// Whether it sees losses, and its weights are known before those of the step are; see
    /// [`FromLosses::weights_precede_losses`].
    pub fn weights_precede_losses(&self) -> bool {
        match self {
            Self::Losses(rule) => rule.weights_precede_losses(),
            Self::Gram(_) | Self::Jacobian(_) => false,
        }
    }

    /// How the vectors of the state belong to the tasks.
    pub fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        self.rule().shapes()
    }

    pub(crate) fn vectors(&mut self) -> Option<&mut TaskVectors> {
        self.rule_mut().vectors()
    }

    fn rule(&self) -> &dyn WeightingRule {
        match self {
            Self::Losses(rule) => rule.as_ref(),
            Self::Gram(rule) => rule.as_ref(),
            Self::Jacobian(rule) => rule.as_ref(),
        }
    }

    fn rule_mut(&mut self) -> &mut dyn WeightingRule {
        match self {
            Self::Losses(rule) => rule.as_mut(),
            Self::Gram(rule) => rule.as_mut(),
            Self::Jacobian(rule) => rule.as_mut(),
        }
    }
}
