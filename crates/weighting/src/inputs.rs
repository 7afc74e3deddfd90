//! What a rule may look at, and what it may ask for.

use mtl_task::rng::Key;
use mtl_task::{Likelihood, Progress};
use serde::{Deserialize, Serialize};

use crate::Warning;

/// What every rule sees of a step besides gradients. `tasks` is the number of tasks that take part in the step: those
/// that the rule decides among.
#[derive(Clone, Copy, Debug)]
pub struct StepInputs<'a> {
    /// The loss of each task, `[tasks]`; empty where only gradients are known (rules then take every loss as 1).
    pub losses: &'a [f64],
    /// The noise model behind each loss, `[tasks]`; a task beyond the end is `Gaussian`.
    pub likelihood: &'a [Likelihood],
    /// How far training is.
    pub progress: Progress,
    /// This step's stream, for rules that draw.
    pub key: Key,
}

impl StepInputs<'_> {
    /// The loss of `task`, 1 where losses are not known.
    pub fn loss(&self, task: usize) -> f64 {
        self.losses.get(task).copied().unwrap_or(1.0)
    }

    /// The losses of `tasks` tasks, raised to 1e-12 with a warning where they are not above it.
    pub(crate) fn positive(&self, tasks: usize) -> (Vec<f64>, Option<Warning>) {
        let losses: Vec<f64> = (0..tasks).map(|task| self.loss(task)).collect();
        let warning = losses.iter().any(|loss| *loss < 1e-12).then_some(Warning::NonPositiveLoss);
        (losses.iter().map(|loss| loss.max(1e-12)).collect(), warning)
    }

    /// The noise model of `task`.
    pub fn likelihood(&self, task: usize) -> Likelihood {
        self.likelihood.get(task).copied().unwrap_or(Likelihood::Gaussian)
    }
}

/// What a rule asks of a step beyond one gradient or loss per task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Independent mini-batches per task. The weights apply to the first; with n of them a Gram matrix has n·K rows,
    /// mini-batch after mini-batch, and a [`FromJacobian`](crate::FromJacobian) rule gets n Jacobians.
    pub mini_batches: usize,
    /// The losses of the same batches after the optimizer's step, handed to
    /// [`WeightingRule::losses_after_step`](crate::WeightingRule).
    pub losses_after_step: bool,
    /// The last mini-batch comes from a held-out part of the training data.
    pub validation_batch: bool,
}

impl Default for Needs {
    fn default() -> Self {
        Self { mini_batches: 1, losses_after_step: false, validation_batch: false }
    }
}

/// How a task's own parameters (its head) are updated. Applied by the trainer, not by the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Private {
    /// Rules on losses weight them, rules on gradients leave a task's own gradient as it is.
    #[default]
    Auto,
    /// Each task's own gradient, unweighted.
    Own,
    /// Weighted by the rule before any clipping, as the authors' Nash-MTL does.
    Weighted,
    /// Weighted with the weights rescaled to mean 1.
    Normalised,
}

/// What a rule sums with where its paper leaves the choice open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preference {
    /// 1/K for every task.
    Mean,
    /// 1 for every task.
    Sum,
}

impl Preference {
    /// Each of `tasks` tasks' share.
    pub(crate) fn of(self, tasks: usize) -> f64 {
        match self {
            Self::Mean => 1.0 / tasks as f64,
            Self::Sum => 1.0,
        }
    }
}
