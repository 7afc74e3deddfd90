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
    /// Tagging only: `bio` (spans; the default if every tag is `O` or begins with `B-` or `I-`) or `plain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The headline metric, where the field's convention differs from the kind's: one that judges truths of the kind and
    /// that is better the higher it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
}
