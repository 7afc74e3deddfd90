//! `[train]`: how long a training is, what a step sees, and in which arithmetic.

use serde::{Deserialize, Serialize};

/// `[train]`: the loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Train {
    /// Optimizer steps in all; 0 while `epochs` stands for them.
    #[serde(skip_serializing_if = "is_zero")]
    pub steps: usize,
    /// In place of `steps`: passes over the training examples of a task, a number above 0. A run works its steps out once
    /// the data is there, and writes these down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// The task whose examples `epochs` counts; left out, the one that has most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs_of: Option<String>,
    /// Examples a task and micro-batch: a joint step sees `batch` × tasks × `accumulate` examples.
    pub batch: usize,
    /// Micro-batches in a step; their gradients add up to the gradient of the whole window.
    pub accumulate: usize,
    /// Whether a step has every task (`joint`) or one (`one`).
    pub step: StepKind,
    /// Longest input in tokens; longer ones are cut.
    pub max_tokens: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Seed of the draws behind `limit`, `dev_limit` and `test_limit`; left out, `seed`. Runs that are to be compared
    /// example by example over seeds need a common one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_seed: Option<u64>,
    /// Seed of the draw behind `limit` alone; left out, that of `data_seed`. Runs with training examples of their own,
    /// judged on the same dev and test examples, differ in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Seed of the draw behind `dev_limit` alone; left out, that of `data_seed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_seed: Option<u64>,
    /// Whether the draw behind `limit` keeps the classes' shares; left out, false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stratified: Option<bool>,
    /// Largest norm of the combined gradient; 0 for no bound.
    pub clip: f64,
    /// Steps between two whose line in metrics.jsonl has the norms and cosines of the task gradients: 1 for every step,
    /// 0 for none. In the other steps a rule over losses keeps no task's gradient: one buffer takes in the gradient of
    /// the weighted sum of the losses, which saves time and memory and rounds otherwise.
    pub log_gradients: usize,
    /// How many times its level without any training a task's loss has to be for training to count as diverged, 2 or
    /// more; 0 to never stop for that; left out, 10. A loss that is not finite ends a run in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
    /// In how many steps of the task in a row, 1 or more; left out, 25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence_steps: Option<usize>,
    /// Training examples a task, drawn by `sample_seed`; 0 for all.
    pub limit: usize,
    /// Steps between two checkpoints; 0 for one at every evaluation.
    pub save_every: usize,
    /// `f32`; `bf16`, which rounds what enters the encoder's large products and keeps weights, sums and gradients in
    /// f32; or `f64` for experiments with exactness.
    pub precision: Precision,
    /// `auto`, the fused kernel where the device has one, or `reference`, candle's own operations everywhere.
    pub path: EncoderPath,
    /// Whether the encoder's layers keep nothing but their inputs for the backward and compute the rest again: for long
    /// inputs. The bits stay the same.
    pub recompute: bool,
    /// Dropout of states and attention; left out, the checkpoint's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Threads; 0 for one a core. Results do not depend on it.
    pub threads: usize,
}

/// How many tasks a step has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Every task.
    Joint,
    /// One, drawn by the sampler.
    One,
}

/// Arithmetic of parameters and gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single, with products of half of it.
    Bf16,
    /// Single.
    F32,
    /// Double.
    F64,
}

/// Which implementation of the encoder's operations runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderPath {
    /// The fused kernel on the processor, candle's operations elsewhere.
    Auto,
    /// Candle's operations.
    Reference,
}

fn is_zero(steps: &usize) -> bool {
    *steps == 0
}

impl Default for Train {
    fn default() -> Self {
        Self {
            steps: 300,
            epochs: None,
            epochs_of: None,
            batch: 16,
            accumulate: 1,
            step: StepKind::Joint,
            max_tokens: 128,
            seed: 0,
            data_seed: None,
            sample_seed: None,
            dev_seed: None,
            stratified: None,
            clip: 1.,
            log_gradients: 1,
            divergence: None,
            divergence_steps: None,
            limit: 0,
            save_every: 0,
            precision: Precision::F32,
            path: EncoderPath::Auto,
            recompute: false,
            dropout: None,
            threads: 0,
        }
    }
}

impl Train {
    /// The seed by which examples are drawn where there is a limit.
    pub fn data_seed(&self) -> u64 {
        self.data_seed.unwrap_or(self.seed)
    }

    /// How many times its level without any training a loss is that has diverged; 0 for no bound.
    pub fn divergence(&self) -> f64 {
        self.divergence.unwrap_or(10.)
    }

    /// In how many steps in a row.
    pub fn divergence_steps(&self) -> usize {
        self.divergence_steps.unwrap_or(25)
    }
}
