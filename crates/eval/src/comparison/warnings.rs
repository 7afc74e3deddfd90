//! What a reader of a comparison has to see.

use super::table::Table;
use super::{PILOT_SEEDS, PILOT_STEPS};

/// Why this is a pilot from which no conclusion may be drawn, if it is one.
pub(super) fn pilot(table: &Table) -> Option<String> {
    let mut reasons = Vec::new();
    let lengths = table.records().flat_map(|run| run.tasks.values()).map(|record| record.loss_curve.0.len());
    let steps = lengths.min().unwrap_or(0);
    if steps < PILOT_STEPS {
        reasons.push(format!("{steps} training steps a task, fewer than {PILOT_STEPS}"));
    }
    let seeds = table.question.seeds.len();
    if seeds < PILOT_SEEDS {
        reasons.push(format!("{seeds} seeds, fewer than {PILOT_SEEDS}"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Everything else.
pub(super) fn all(table: &Table) -> Vec<String> {
    let mut warnings = Vec::new();
    let question = table.question;
    for arm in &table.arms {
        let (finished, seeds) = (table.runs(&arm.name).count(), question.seeds.len());
        if finished == 0 {
            warnings.push(format!("arm `{}` has no finished run", arm.name));
            continue;
        }
        if finished < seeds {
            warnings.push(format!("arm `{}` finished {finished} of {seeds} seeds", arm.name));
        }
        let missing: Vec<&str> = (question.tasks.iter())
            .filter(|task| table.of(&arm.name, task).iter().all(Option::is_none))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            warnings.push(format!("arm `{}` is not judged on {} and not ranked", arm.name, missing.join(", ")));
        }
    }
    if table.records().all(|run| run.test_opened_at.is_none()) {
        warnings.push("the test splits are sealed: every score is on dev, by which checkpoints were chosen".into());
    }
    let controls = |arm: &&&super::ArmSpec| arm.control.is_some() && table.runs(&arm.name).next().is_some();
    for arm in table.arms.iter().filter(controls) {
        let control = arm.control.as_deref().unwrap_or_default();
        warnings.push(format!("arm `{}` is a control ({control}), no candidate", arm.name));
    }
    warnings
}
