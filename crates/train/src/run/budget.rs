//! What a run's budget is, in steps.

use mtl_sharing::{Budget, Phase};
use mtl_task::TaskId;

use super::loader::DataLoader;
use crate::assemble::Assembled;

/// The budget of a run that has not begun.
pub(crate) fn budget(assembled: &Assembled, loader: &DataLoader, phases: &[Phase]) -> Budget {
    let of = phases.iter().map(|phase| phase.steps).sum();
    let tasks = || (0..assembled.datasets.len()).map(TaskId);
    let counts: Vec<f64> = tasks().map(|task| loader.mean_count(task, of)).collect();
    Budget {
        of,
        steps: 0,
        charged: 0,
        per_step: counts.iter().sum(),
        epochs: tasks().zip(&counts).map(|(task, count)| loader.size_of(task) as f64 / count.max(1e-9)).collect(),
        held_out: assembled.datasets.iter().map(|dataset| dataset.dev.examples.len()).collect(),
    }
}
