//! `[evaluation]`: what is measured, when, and which weights are kept.

use mtl_data::OverlapPolicy;
use serde::{Deserialize, Serialize};

/// `[evaluation]`: what is measured, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// Steps between two looks at dev; 0 for one look, at the end.
    pub every: usize,
    /// Looks at dev without a better aggregate before training stops; 0 to go on.
    pub patience: usize,
    /// `open`: the test split is opened once, at the end. `sealed`: not at all.
    pub test: Test,
    /// Dev examples a task, drawn by seed; 0 for all.
    pub dev_limit: usize,
    /// Whether a task has at most as many dev examples as it has to train on, as someone who has few would; left out,
    /// false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_as_train: Option<bool>,
    /// Test examples a task, drawn by seed; 0 for all.
    pub test_limit: usize,
    /// Overrides both limits if given; 0 uses everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Examples in a batch that only answers.
    pub batch: usize,
    /// Whether the test is taken by the best weights on dev, or by the last ones.
    pub keep: Keep,
    /// Whether every look at dev scores as many training examples too.
    pub train_curve: bool,
    /// Whether the weights of every look are kept, as checkpoint `step-N`.
    pub keep_evaluations: bool,
    /// Training rows whose text stands in a dev or test split, of the same task or of another, as sources split them:
    /// `drop` leaves them out, `allow` trains on them. Splits that are drawn have none.
    pub overlap: OverlapPolicy,
}

/// Whether the test split is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Test {
    /// Once, at the end.
    Open,
    /// Not at all.
    Sealed,
}

/// Which weights are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those with the best mean headline score on dev.
    Best,
    /// Each task's own with the best headline score of that task; where tasks share parameters, as a snapshot of each.
    Each,
    /// The last ones.
    Last,
}

impl Keep {
    /// Names of the checkpoints that hold those weights, the first one that is there.
    pub(crate) fn checkpoints(self) -> &'static [&'static str] {
        match self {
            Self::Best => &["best", "last"],
            Self::Each => &["each", "best", "last"],
            Self::Last => &["last"],
        }
    }
}

impl Default for Evaluation {
    fn default() -> Self {
        Self {
            every: 100,
            patience: 0,
            test: Test::Open,
            dev_limit: 500,
            dev_as_train: None,
            test_limit: 1000,
            limit: None,
            batch: 64,
            keep: Keep::Best,
            train_curve: false,
            keep_evaluations: false,
            overlap: OverlapPolicy::Drop,
        }
    }
}

impl Evaluation {
    /// Dev examples a task; 0 for all.
    pub fn dev_limit(&self) -> usize {
        self.limit.unwrap_or(self.dev_limit)
    }

    /// Test examples a task; 0 for all.
    pub fn test_limit(&self) -> usize {
        self.limit.unwrap_or(self.test_limit)
    }
}
