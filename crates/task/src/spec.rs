//! What a dataset's manifest says about its task.

use serde::{Deserialize, Serialize};

/// The `[task]` table of a dataset manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// A member of the registry of task kinds, such as `classification`, `regression`, `multilabel` or `tagging`.
    pub kind: String,
    /// Class, label or tag names in index order. Left out, they are the sorted distinct ones of the training split.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Regression only: the smallest and largest value a target may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f32; 2]>,
    /// Regression only: whether targets are standardised for training (default yes). Answers and metrics are in the
    /// targets' own units either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standardise: Option<bool>,
    /// Regression only: what targets are standardised by. Left out, mean and deviation of the training split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Tagging only: how tags write spans, `iob1`, `iob2` (or `bio`), `ioe2`, `iobes` (or `bioes`) or `bilou`, or `plain`
    /// for tags that write none. Left out, the tags tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Masked language modelling only, and taken from the tokenizer: what masking needs to know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<Masking>,
    /// The headline metric, where the field's convention differs from the kind's: one that judges truths of the kind and
    /// that is better the higher it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}

/// What masking has to know of a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masking {
    /// Id of the mask token.
    pub mask: u32,
    /// Ids of the tokens that are masked and predicted, one a label, ascending: the training split's, without special
    /// ones.
    pub ids: Vec<u32>,
}

/// Where a regression's targets lie: z = (y − mean) / deviation is what is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// What becomes 0.
    pub mean: f64,
    /// What becomes 1; above 0.
    pub deviation: f64,
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let short = |value: f64| match value.abs() {
            size if value == 0. || (1e-3..1e6).contains(&size) => format!("{value:.4}"),
            _ => format!("{value:.4e}"),
        };
        write!(f, "mean {}, deviation {}", short(self.mean), short(self.deviation))
    }
}
