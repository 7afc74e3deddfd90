//! What a reader of a comparison has to see.

use super::table::Table;
use super::words::counted;
use super::{ArmResult, ArmSpec, PILOT_PASSES, PILOT_SEEDS, PILOT_STEPS, Role, RunRecord};

/// Why an arm is a pilot from which no conclusion may be drawn, if it is one: by the pairs of seeds that it and the
/// baseline both finished, and by how often their runs passed through the examples of their smallest task.
pub(super) fn pilot(table: &Table, arm: &ArmSpec) -> Option<String> {
    let mut reasons = Vec::new();
    let runs = table.runs(&arm.name).chain(table.runs(&table.question.baseline));
    let sound: Vec<&RunRecord> = runs.filter(|run| run.diverged.is_none()).collect();
    let passes = sound
        .iter()
        .filter_map(|run| passes(run))
        .fold(None, |least: Option<f64>, one| Some(least.map_or(one, |least| least.min(one))));
    let lengths = sound.iter().flat_map(|run| run.tasks.values()).map(|record| record.loss_curve.0.len());
    match (passes, lengths.min()) {
        (Some(passes), _) if passes < PILOT_PASSES => {
            reasons.push(format!("{passes:.1} passes through the smallest task, fewer than {PILOT_PASSES}"));
        }
        (None, Some(steps)) if steps < PILOT_STEPS => {
            reasons.push(format!("{steps} training steps a task, fewer than {PILOT_STEPS}"));
        }
        _ => {}
    }
    let (asked, pairs) = (table.question.seeds.len(), table.pairs(&arm.name).len());
    if asked < PILOT_SEEDS {
        reasons.push(format!("{asked} seeds, fewer than {PILOT_SEEDS}"));
    } else if pairs < PILOT_SEEDS {
        reasons.push(format!("{pairs} pairs of seeds that finished, fewer than {PILOT_SEEDS}"));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// How often a run passed through the examples of its smallest task, if that was counted.
fn passes(run: &RunRecord) -> Option<f64> {
    let smallest = run.tasks.values().filter(|task| task.sizes[0] > 0).min_by_key(|task| task.sizes[0])?;
    smallest.passes
}

/// Why all that was compared is a pilot, if every arm is one.
pub(super) fn all_pilots(arms: &[ArmResult], baseline: &str) -> Option<String> {
    let others: Vec<&ArmResult> = arms.iter().filter(|arm| arm.arm.name != baseline && arm.finished > 0).collect();
    let mut reasons: Vec<&str> = others.iter().map(|arm| arm.pilot.as_deref()).collect::<Option<_>>()?;
    reasons.sort_unstable();
    reasons.dedup();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Everything else.
pub(super) fn all(table: &Table) -> Vec<String> {
    let mut warnings = Vec::new();
    let question = table.question;
    for (place, arm) in table.arms.iter().enumerate() {
        let (finished, seeds) = (table.runs(&arm.name).count(), question.seeds.len());
        if finished == 0 {
            warnings.push(format!("arm `{}` has no finished run", arm.name));
            continue;
        }
        if finished < seeds {
            warnings.push(format!("arm `{}` finished {finished} of {seeds} seeds", arm.name));
        }
        let judged = table.judged_tasks(&arm.name);
        let missing: Vec<&str> =
            question.tasks.iter().map(String::as_str).filter(|task| !judged.contains(task)).collect();
        if !missing.is_empty() {
            warnings.push(format!("arm `{}` is not judged on {} and not ranked", arm.name, missing.join(", ")));
        } else if arm.is_candidate() && place >= table.ranked {
            let pairs = counted(table.pairs(&arm.name).len(), "pair", "pairs");
            warnings.push(format!(
                "arm `{}` is not ranked: it has {pairs} of seeds with the baseline, fewer than half of the baseline's",
                arm.name
            ));
        }
        let own = table.counted(&arm.name);
        if place >= table.ranked && own != table.common {
            let over: Vec<String> = own.iter().map(u64::to_string).collect();
            warnings.push(format!("means of arm `{}` are over seeds {} alone", arm.name, over.join(", ")));
        }
    }
    if table.common.len() < question.seeds.len() {
        let over: Vec<String> = table.common.iter().map(u64::to_string).collect();
        warnings.push(match over.is_empty() {
            true => "no seed was finished by every ranked arm: nothing is ranked".into(),
            false => format!("means and ranks are over the seeds that every ranked arm finished: {}", over.join(", ")),
        });
    }
    if table.records().all(|run| run.test_opened_at.is_none()) {
        warnings.push("the test splits are sealed: every score is on dev, by which checkpoints were chosen".into());
    }
    for arm in table.arms.iter().filter(|arm| table.runs(&arm.name).next().is_some()) {
        let name = &arm.name;
        warnings.extend(match (arm.role(), arm.control.as_deref()) {
            (Role::Candidate, _) => None,
            (Role::Control, Some(control)) => Some(format!("arm `{name}` is a control ({control}), no candidate")),
            (Role::Control, None) => Some(format!("arm `{name}` is a control, no candidate")),
            (Role::Oracle, _) => {
                Some(format!("arm `{name}` is an oracle, no candidate: it knows what nobody knows beforehand"))
            }
            (Role::Portfolio, _) => Some(format!(
                "arm `{name}` is a portfolio, no candidate: it cost as many trainings as it chooses among"
            )),
        });
        warnings.extend(
            arm.batches.iter().map(|why| format!("arm `{name}` does not see the baseline's batches: it {why}")),
        );
        let diverged = table.runs(name).filter(|run| run.diverged.is_some()).count();
        if diverged > 0 {
            warnings.push(format!(
                "arm `{name}`: {diverged} of its runs diverged; they count as results, scored as the trivial baseline"
            ));
        }
    }
    warnings
}
