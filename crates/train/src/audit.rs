//! Before the first step: does every trainable parameter learn at all?

use anyhow::{Result, anyhow, bail};
use mtl_backbone::{GradientBlock, TaskGradient};
use mtl_sharing::Model;
use mtl_task::TaskId;

/// The step-0 audit: every trainable parameter that some task reaches must have a finite gradient. Returns the names
/// of those whose gradient is all zero, which is right for some (a LoRA matrix behind zeros) and worth a line.
///
/// # Errors
/// Names the parameters without a gradient, or with one that is not finite.
pub fn audit(model: &Model, rows: &[TaskGradient]) -> Result<Vec<String>> {
    let all: Vec<TaskId> = (0..model.tasks.len()).map(TaskId).collect();
    audit_of(model, &all, rows)
}

/// As [`audit`], where only `tasks` have a gradient: a batch of the others had nothing to learn from.
pub(crate) fn audit_of(model: &Model, tasks: &[TaskId], rows: &[TaskGradient]) -> Result<Vec<String>> {
    audit_present(model, tasks, rows).map_err(|error| anyhow!("the audit before step 0 failed: {error}"))
}

/// As [`audit`], for the parameters that one of `tasks` trains, of which `rows` are the gradients.
pub(crate) fn audit_present(model: &Model, tasks: &[TaskId], rows: &[TaskGradient]) -> Result<Vec<String>> {
    let (mut missing, mut broken, mut zero) = (Vec::new(), Vec::new(), Vec::new());
    for param in model.params.iter().filter(|param| param.trainable()) {
        let name = param.name().to_string();
        let Some(trained_by) = model.topology.trained_by(&name).filter(|tasks| !tasks.is_empty()) else {
            bail!("parameter `{name}` is trainable, but no task reaches it")
        };
        if !tasks.iter().any(|task| trained_by.contains(*task)) {
            continue;
        }
        let segments: Vec<&GradientBlock> = rows.iter().filter_map(|row| row.0.get(&name)).collect();
        if segments.is_empty() {
            missing.push(name);
        } else if segments.iter().any(|segment| segment.values().first_non_finite().is_some()) {
            broken.push(name);
        } else if segments.iter().all(|segment| (0..segment.values().len()).all(|at| segment.values().at(at) == 0.)) {
            zero.push(name);
        }
    }
    if !missing.is_empty() || !broken.is_empty() {
        let list = |what: &str, names: &[String]| {
            if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
        };
        bail!(
            "not every trained parameter has a finite gradient{}{}",
            list("no gradient", &missing),
            list("a gradient that is not finite", &broken)
        );
    }
    Ok(zero)
}
