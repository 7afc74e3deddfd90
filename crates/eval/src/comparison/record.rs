//! What a finished run leaves for a comparison.

use std::collections::BTreeMap;

use mtl_task::{Answer, Label};
use serde::{Deserialize, Serialize};

/// What an arm is to a comparison. Only candidates are ranked, called the best of a task, and counted where p is
/// corrected for the number of arms; all arms are compared with the baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// One of those among which the comparison decides.
    #[default]
    Candidate,
    /// Answers whether a gain has another cause, such as shuffled labels.
    Control,
    /// Knows what nobody knows beforehand, such as the planted partition.
    Oracle,
    /// Takes for each task what other arms' runs were best at on dev: it costs as many trainings as it chooses among.
    Portfolio,
}

impl Role {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Control => "control",
            Self::Oracle => "oracle",
            Self::Portfolio => "portfolio",
        }
    }
}

/// What differs between the seeds of an experiment, which its intervals range over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampled {
    /// Initialisation, order and dropout: one sample of training examples for all seeds.
    #[default]
    Initialisations,
    /// The training examples, under one initialisation.
    Samples,
    /// Both: every seed has training examples of its own.
    Both,
}

/// An arm: what is varied, and where the baseline is among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmSpec {
    /// Its name, such as `hard+nash`.
    pub name: String,
    /// The strategy.
    pub strategy: String,
    /// The rule.
    pub rule: String,
    /// The checkpoint.
    pub checkpoint: String,
    /// The sampler.
    pub sampler: String,
    /// Hyper-parameters chosen on dev, by key of the recipe.
    pub tuned: BTreeMap<String, String>,
    /// What the arm controls for (`shuffled labels`, `noise task`, …), if it is a control.
    pub control: Option<String>,
    /// What it is to the comparison, as far as `control` does not say; see [`ArmSpec::role`].
    #[serde(default)]
    pub role: Role,
    /// Why its steps do not see the baseline's batches, such as `draws three batches a step`, if they do not.
    #[serde(default)]
    pub batches: Option<String>,
}

impl ArmSpec {
    /// What the arm is to the comparison: a control wherever it controls for something.
    pub fn role(&self) -> Role {
        if self.control.is_some() && self.role == Role::Candidate { Role::Control } else { self.role }
    }

    /// Whether it is one of those among which the comparison decides.
    pub fn is_candidate(&self) -> bool {
        self.role() == Role::Candidate
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run's id: a hash of its resolved recipe.
    pub id: String,
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Task by task.
    pub tasks: BTreeMap<String, TaskRecord>,
    /// Steps in all phases.
    pub steps: usize,
    /// Wall-clock seconds of training.
    pub seconds: f64,
    /// Processor seconds of training.
    pub cpu_seconds: f64,
    /// Tokens that carried text, a second.
    pub tokens_per_second: f64,
    /// Parameters of the model.
    pub parameters: usize,
    /// Those that training may change.
    pub trainable: usize,
    /// What one whole model per task would have.
    pub single_task_parameters: usize,
    /// Bytes of the model in a file.
    pub stored_bytes: u64,
    /// Milliseconds to answer one text.
    pub latency_ms: Option<f64>,
    /// How the rule's decisions ended.
    pub outcomes: BTreeMap<String, usize>,
    /// Mean cosines between the tasks' gradients, `[tasks][tasks]` in the order of `tasks`; empty if not measured.
    pub cosines: Vec<Vec<f64>>,
    /// When the test split was opened, RFC 3339.
    pub test_opened_at: Option<String>,
    /// Why training diverged, if it did. Such a run is a result: on tasks that it left no answers to, it is taken to
    /// answer as the baseline of [`TaskRecord::trivial`] does.
    #[serde(default)]
    pub diverged: Option<String>,
    /// The commit, or else the version, of the program that ran it.
    #[serde(default)]
    pub commit: Option<String>,
    /// Hashes of the data files that it read, by what they are called.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

/// One run on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// The task's kind.
    pub kind: String,
    /// Names of classes, labels or tags.
    pub names: Vec<String>,
    /// The headline metric.
    pub headline: String,
    /// Examples to train on, to choose by, and to report on.
    pub sizes: [usize; 3],
    /// Every metric on train (a sample), dev and test (null if sealed).
    pub train: BTreeMap<String, f64>,
    /// On dev.
    pub dev: BTreeMap<String, f64>,
    /// On test, if it was opened.
    pub test: Option<BTreeMap<String, f64>>,
    /// Headline score of the baseline.
    pub trivial: f64,
    /// The best headline score that label noise lets any model expect, if it is known.
    #[serde(default)]
    pub ceiling: Option<f64>,
    /// How often training went through the task's own training examples, if it was counted.
    #[serde(default)]
    pub passes: Option<f64>,
    /// The judged examples' texts, truths and answers: test, or dev if test is sealed.
    pub texts: Vec<String>,
    /// Their truths.
    pub truths: Vec<Label>,
    /// The run's answers.
    pub answers: Vec<Answer>,
    /// Dev and train headline scores at every look.
    pub dev_curve: Curve,
    /// Train scores at every look, if they were taken.
    pub train_curve: Curve,
    /// Training loss at every step.
    pub loss_curve: Curve,
    /// Weight αᵢ at every step, if the rule has weights.
    pub weight_curve: Curve,
}

/// A series over steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve(pub Vec<Point>);

/// One point of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The step.
    pub step: usize,
    /// The value.
    pub value: f64,
}
