//! `train --dry-run`: what a run would take, told before it begins.

use anyhow::Result;
use mtl_train::DryRun;
use mtl_train::memory::readable;

use crate::output::line;

/// Prints what a dry run found, as JSON or for people.
pub(super) fn print(found: &DryRun, json: bool) -> Result<()> {
    match json {
        true => line(&serde_json::to_string_pretty(found)?),
        false => told(found).iter().try_for_each(|text| line(text)),
    }
}

fn told(found: &DryRun) -> Vec<String> {
    let mut lines: Vec<String> = found
        .tasks
        .iter()
        .map(|task| {
            let [shortest, median, most, longest] = task.tokens;
            format!(
                "task {} ({}): {} to train on, {} dev, {} test{}; tokens {shortest}–{longest}, median {median}, 95 % up to \
                 {most}; {:.1} % truncated",
                task.name,
                task.kind,
                task.train,
                task.dev,
                task.test,
                task.batch.map(|batch| format!(", {batch} in a batch")).unwrap_or_default(),
                100. * task.truncated
            )
        })
        .collect();
    let parameters = &found.parameters;
    let roles: Vec<String> = parameters.by_role.iter().map(|(role, count)| format!("{role} {count}")).collect();
    lines.push(format!(
        "parameters: {}, {} of them trained ({}); {:.0} % of these are shared",
        parameters.total,
        parameters.trainable,
        roles.join(", "),
        100. * parameters.shared
    ));
    lines.push(format!(
        "steps: {}, each of {} × {} examples a task, {:.0} tokens on average",
        found.steps, found.accumulate, found.batch, found.tokens_per_step
    ));
    lines.extend(found.foreseen.iter().map(|line| format!("sharing: {line}")));
    match found.zero_gradients.is_empty() {
        true => lines.push("gradients: every trained parameter has one".to_string()),
        false => lines.push(format!(
            "gradients: every trained parameter has one; all zero before the first step: {}",
            found.zero_gradients.join(", ")
        )),
    }
    lines.extend(memory(found));
    let time = &found.time;
    lines.push(format!(
        "time: {} a step, {} × {} to evaluate on dev, {} for the report, {} a checkpoint; about {} in all",
        seconds(time.step),
        time.evaluations,
        seconds(time.evaluation),
        seconds(time.report),
        seconds(time.checkpoint),
        seconds(time.total)
    ));
    let disk = &found.disk;
    let each = match disk.each {
        0 => String::new(),
        bytes => format!(", {} for the best weights of each task", readable(bytes)),
    };
    lines.push(format!(
        "disk: {} for {} checkpoints of {}{each} and the next one while it is written",
        readable(disk.most),
        disk.kept,
        readable(disk.checkpoint)
    ));
    lines
}

fn memory(found: &DryRun) -> Vec<String> {
    let memory = &found.memory;
    let known = |bytes: Option<u64>| bytes.map_or("unknown".to_string(), readable);
    let left = match &memory.available {
        Some(available) => format!("{} more were left by {}", readable(available.bytes), available.bound),
        None => "how much is left is unknown".to_string(),
    };
    let estimate = &memory.estimate;
    let parts = [
        ("weights", estimate.weights),
        ("the encoder as it was", estimate.pretrained),
        ("what teachers say", estimate.teachers),
        ("gradients", estimate.gradients),
        ("moments", estimate.moments),
        ("activations", estimate.activations),
        ("parts that the strategy computes", estimate.computed),
        ("answers on dev", estimate.evaluation),
        ("a checkpoint while it is written", estimate.checkpoint),
    ];
    let parts: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name} {}", readable(*bytes))).collect();
    vec![
        format!(
            "memory: {} at its peak (measured), {} when model and data were loaded; {left}",
            known(memory.peak),
            known(memory.loaded)
        ),
        format!("memory by the estimate: {} at its peak; {}", known(memory.estimated_peak), parts.join(", ")),
    ]
}

fn seconds(time: f64) -> String {
    if time < 1. {
        format!("{:.0} ms", 1e3 * time)
    } else if time < 120. {
        format!("{time:.1} s")
    } else if time < 7200. {
        format!("{:.0} min", time / 60.)
    } else {
        format!("{:.1} h", time / 3600.)
    }
}
