//! What does not fit together: records of other commits or data, scores that cannot be, settings that changed after test
//! was opened.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use mtl_eval::comparison::{RunRecord, TaskRecord};
use mtl_eval::{Judged, Metrics};

use crate::header::Header;
use crate::{Options, Plan, Planned, Purpose};

/// Between a score that is recorded and one that is worked out again.
const TOLERANCE: f64 = 1e-9;

/// Refuses records among `lines` with a score that no metric of `metrics` gives, or that its own answers do not have.
///
/// # Errors
/// Names the run, the task and the score.
pub(super) fn check_scores(metrics: &Metrics, lines: &[Planned], plan: &Plan) -> Result<()> {
    for line in lines {
        let Some(record) = plan.record(line)? else { continue };
        for (name, task) in &record.tasks {
            if let Some(odd) = odd_score(metrics, task) {
                bail!(
                    "{}: task `{name}`: {odd}; the file is not as the run wrote it: remove it to run again",
                    plan.folder(line).join("record.json").display()
                );
            }
        }
    }
    Ok(())
}

/// A score of `task` that cannot be, in words.
fn odd_score(metrics: &Metrics, task: &TaskRecord) -> Option<String> {
    let splits = [("train", Some(&task.train)), ("dev", Some(&task.dev)), ("test", task.test.as_ref())];
    for (split, scores) in splits {
        for (name, &score) in scores.into_iter().flatten() {
            // A metric of the program that wrote it, and not of this one.
            let Ok(metric) = metrics.find(name) else { continue };
            let [low, high] = metric.range();
            if !(low - TOLERANCE..=high + TOLERANCE).contains(&score) {
                return Some(format!("`{name}` on {split} is {score}, and lies between {low} and {high}"));
            }
        }
    }
    let judged = Judged { answers: &task.answers, truth: &task.truths, names: &task.names };
    let (split, recorded) = task.test.as_ref().map_or(("dev", &task.dev), |test| ("test", test));
    for (name, &score) in recorded {
        let Ok(again) = mtl_eval::scores(metrics, &[name.as_str()], judged) else { continue };
        let again = again.get(name).copied().unwrap_or(score);
        if (again - score).abs() > TOLERANCE * score.abs().max(1.) {
            return Some(format!("`{name}` on {split} is {score}, and its answers score {again}"));
        }
    }
    None
}

/// Whether some final run opened test.
///
/// # Errors
/// If a record cannot be read.
pub(super) fn is_test_open(plan: &Plan) -> Result<bool> {
    for line in plan.lines().iter().filter(|line| line.purpose == Purpose::Final) {
        if plan.record(line)?.is_some_and(|record| record.test_opened_at.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a reader has to know of where the records come from.
///
/// # Errors
/// If a record cannot be read.
pub(super) fn notes(plan: &Plan, now: &Header, options: &Options) -> Result<Vec<String>> {
    let mut said = Vec::new();
    if let Some(header) = &plan.header {
        for changed in header.changed_settings(now) {
            said.push(format!("changed after the test splits were opened: {changed}"));
        }
        for file in header.changed_data(&now.data) {
            said.push(format!("the data file `{file}` is not the one that was planned with"));
        }
    }
    let planned = plan.header.as_ref().map(|header| &header.data);
    let own = program(options);
    let mut commits: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // What each dataset was in the first run that says so.
    let mut data: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut changed: BTreeMap<String, String> = BTreeMap::new();
    for line in plan.lines() {
        let Some(RunRecord { commit, data: of_run, .. }) = plan.record(line)? else { continue };
        if let Some(commit) = commit.filter(|commit| *commit != own) {
            commits.entry(commit).or_default().insert(line.id.clone());
        }
        for (name, digits) in of_run {
            let wanted = planned.and_then(|planned| planned.get(&name)).cloned();
            let (known, first) = data.entry(name.clone()).or_insert_with(|| match wanted {
                Some(wanted) => (wanted, "the plan".into()),
                None => (digits.clone(), format!("run {}", line.id)),
            });
            if *known != digits {
                changed.entry(name).or_insert_with(|| format!("run {} read another one than {first}", line.id));
            }
        }
    }
    for (commit, runs) in commits {
        let first = runs.first().cloned().unwrap_or_default();
        let runs = if runs.len() == 1 { "1 run is".into() } else { format!("{} runs are", runs.len()) };
        said.push(format!("{runs} of another program, {commit}, than this one, {own}; the first is {first}"));
    }
    said.extend(changed.into_iter().map(|(name, how)| format!("the data `{name}` changed: {how}")));
    Ok(said)
}

/// What ran: the commit, or else the version.
pub(super) fn program(options: &Options) -> String {
    options.commit.clone().unwrap_or_else(|| format!("version {}", env!("CARGO_PKG_VERSION")))
}
