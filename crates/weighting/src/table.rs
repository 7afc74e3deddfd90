//! The bargaining table: what the rules that solve for an agreement (nash, fairgrad) share.
//!
//! One policy for every way a bargain can end. Agreed: that is the agreement. Out of iterations with every task within
//! [`NEAR`] of its share: that is as good as one, and the residual says how good. Otherwise, or Pareto stationary: the last
//! agreement goes on, before a task's first one αᵢ = 1/‖gᵢ‖. Zero gradient of task i: the others bargain, αᵢ = 0. Not finite:
//! returned as it is, and the trainer stops. Then Σ αᵢ gᵢ is clipped to `max_norm`, by αᵀGα.

use mtl_nash::{Agreement, Gram, Status};
use mtl_task::Progress;

use crate::state::take;
use crate::{CachedWeights, Outcome, State};

/// The residual up to which an iterate is worth more than an agreement over other gradients.
const NEAR: f64 = 1e-2;

/// In the place of a task's α: it has been at no bargain yet.
const NONE: f64 = -1.0;

/// The last agreement, and when the next one is due.
pub(crate) struct Table {
    max_norm: Option<f64>,
    refresh: usize,
    /// α of the last agreement, one per task; −1 for a task that has been at none.
    last: Vec<f64>,
}

impl Table {
    /// A bound of 0 is none.
    pub(crate) fn new(rule: &str, tasks: usize, max_norm: f64, refresh: usize) -> Result<Self, String> {
        if refresh == 0 {
            return Err(format!(
                "`refresh` of `{rule}`, the steps from one bargain to the next, must be at least 1, found 0"
            ));
        }
        Ok(Self { max_norm: (max_norm > 0.0).then_some(max_norm), refresh, last: vec![NONE; tasks] })
    }

    /// Bargains by `solve` and applies the policy.
    pub(crate) fn settle(&mut self, gram: &Gram, solve: impl Fn(&Gram) -> Agreement) -> Outcome {
        let mut present: Vec<usize> = (0..gram.tasks()).collect();
        let mut absent = None;
        let agreement = loop {
            let agreement = if absent.is_some() { solve(&gram.subset(&present)) } else { solve(gram) };
            match agreement.status {
                Status::ZeroGradient(position) => absent = absent.or(Some(present.remove(position))),
                _ => break agreement,
            }
            if present.is_empty() {
                return Outcome::solved(vec![0.0; gram.tasks()], 0.0, 0, Status::ZeroGradient(0));
            }
        };
        let mut alpha = vec![0.0; gram.tasks()];
        match agreement.status {
            Status::NonFinite(position) => return Outcome::non_finite(gram.tasks(), present[position]),
            Status::OutOfIterations if agreement.residual > NEAR => self.go_on(gram, &present, &mut alpha),
            Status::Agreed | Status::OutOfIterations => {
                present.iter().zip(&agreement.alpha).for_each(|(&task, &share)| alpha[task] = share);
                present.iter().for_each(|&task| self.last[task] = alpha[task]);
                // Who had no gradient at his first bargain has agreed to nothing.
                self.last.iter_mut().filter(|last| **last == NONE).for_each(|last| *last = 0.0);
            }
            _ => self.go_on(gram, &present, &mut alpha),
        }
        let status = absent.map_or(agreement.status, Status::ZeroGradient);
        let mut outcome = Outcome::solved(alpha, agreement.residual, agreement.iterations, status);
        self.clip(gram, &mut outcome);
        outcome
    }

    /// The last agreement, or what orthogonal gradients would agree to.
    fn go_on(&self, gram: &Gram, present: &[usize], alpha: &mut [f64]) {
        for &task in present {
            alpha[task] = if self.last[task] == NONE { 1.0 / gram.norm(task) } else { self.last[task] };
        }
    }

    fn clip(&self, gram: &Gram, outcome: &mut Outcome) {
        let norm = gram.quadratic(&outcome.weights).max(0.0).sqrt();
        if let Some(bound) = self.max_norm.filter(|bound| norm > *bound) {
            outcome.clip = bound / norm;
            outcome.weights.iter_mut().for_each(|weight| *weight *= outcome.clip);
        }
    }

    /// The last agreement, on the steps between two bargains.
    pub(crate) fn cached(&self, progress: Progress) -> Option<CachedWeights> {
        let known = !self.last.contains(&NONE) && !progress.step.is_multiple_of(self.refresh);
        known.then(|| CachedWeights { weights: self.last.clone(), max_norm: self.max_norm })
    }

    pub(crate) fn state(&self) -> State {
        State::from([("alpha".to_owned(), self.last.clone())])
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<(), String> {
        self.last = take(state, "alpha", self.last.len())?;
        Ok(())
    }
}
