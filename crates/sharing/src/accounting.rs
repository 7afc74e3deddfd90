//! What a model costs in parameters.

use mtl_task::TaskId;
use serde::{Deserialize, Serialize};

use crate::Model;

/// Parameter counts of a model, by the topology: what a task reaches is what it trains, and what is frozen.
///
/// A parameter counts in full, whether or not every element of it is in use: where each task replaces ranges of a
/// shared vector by its own (`hard` with `private_norms`, or own biases over a trained base), the replaced places
/// count, and are stored, beside the tasks' own values. So do elements that no mask of sparse sharing keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accounting {
    /// All parameters.
    pub total: usize,
    /// Those that training may change.
    pub trainable: usize,
    /// What one task's predictions need, by task in the recipe's order.
    pub per_task: Vec<usize>,
    /// Share of the trainable parameters that at least two tasks reach, in [0, 1].
    pub shared_fraction: f64,
    /// Bytes of the model in a file, single precision.
    pub stored_bytes: u64,
    /// What one whole encoder and head for each task would take.
    pub single_task_total: usize,
}

impl Accounting {
    /// Counts the parameters of `model`; `single` is the size of one encoder.
    pub(crate) fn of(model: &Model, single: usize) -> Self {
        let count = |name: &str| model.params.get(name).map_or(0, |param| param.layout().len());
        let total = model.params.count();
        let trainable: usize =
            model.params.iter().filter(|param| param.trainable()).map(|param| param.layout().len()).sum();
        let shared: usize = model.shared().iter().map(|name| count(name)).sum();
        let per_task = (0..model.tasks.len()).map(|task| model.reach(TaskId(task)).iter().map(|n| count(n)).sum());
        let heads: usize =
            (0..model.tasks.len()).map(|task| model.head(TaskId(task)).iter().map(|n| count(n)).sum::<usize>()).sum();
        Self {
            total,
            trainable,
            per_task: per_task.collect(),
            shared_fraction: if trainable == 0 { 0. } else { shared as f64 / trainable as f64 },
            stored_bytes: (4 * total as i64 + model.sharing.extra_bytes()).max(0) as u64,
            single_task_total: single * model.tasks.len() + heads,
        }
    }
}
