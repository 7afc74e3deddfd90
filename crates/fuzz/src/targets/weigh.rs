//! What rules are shown and what they keep.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use mtl_cli::commands::weighed;
use mtl_task::rng::Key;
use mtl_task::{Progress, Registry, TaskId};
use mtl_weighting::{Dense, Gram, GroupRule, Jacobian, Rule, StepInputs, Weighting};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::scratch;

/// A line with the rule's name and, after a space, its settings; then the steps.
pub(super) fn sequence(bytes: &[u8]) -> Result<()> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, steps) = bytes.split_at(end);
    let line = std::str::from_utf8(line).context("no text")?;
    let (name, settings) = line.split_once(' ').unwrap_or((line, "{}"));
    let settings: Value = serde_json::from_str(settings).context("settings")?;
    ensure!(settings.is_object(), "settings: an object was expected");
    let rules = Registry::<Rule>::default();
    let path = scratch::file("weigh", "steps.jsonl", steps.get(1..).unwrap_or_default())?;
    for answer in weighed(rules.find(name)?, &settings, &path, None)? {
        assert!(answer["status"].is_string(), "no status in {answer}");
    }
    Ok(())
}

#[derive(Deserialize)]
struct Kept {
    rule: String,
    tasks: usize,
    state: BTreeMap<String, Vec<f64>>,
}

pub(super) fn state(bytes: &[u8]) -> Result<()> {
    let Kept { rule, tasks, state } = serde_json::from_slice(bytes)?;
    ensure!((1..9).contains(&tasks), "{tasks} tasks");
    let group: Vec<TaskId> = (0..tasks).map(TaskId).collect();
    let rules = Registry::<Rule>::default();
    let mut built = GroupRule::new(rules.find(&rule)?, &json!({}), &group, tasks).map_err(|error| anyhow!(error))?;
    built.restore(&state).map_err(|error| anyhow!(error))?;
    // What was taken on has to stand a step of all tasks and one of some.
    for present in [&group[..], &group[..1]] {
        let progress = Progress { step: 3, of: 9 };
        if built.cached(present, progress).map_err(|error| anyhow!(error))?.is_none() {
            built.step(present, |rule| stepped(rule, present.len(), progress)).map_err(|error| anyhow!(error))?;
        }
    }
    Ok(())
}

/// One step on losses and gradients of no account.
fn stepped(rule: &mut Weighting, tasks: usize, progress: Progress) {
    let losses: Vec<f64> = (1..=tasks).map(|task| task as f64).collect();
    let rows: Vec<Vec<f64>> = (0..tasks).map(|task| vec![1.0, task as f64, -0.5]).collect();
    let (seen, batches) =
        (StepInputs { losses: &losses, likelihood: &[], progress, key: Key::new(0) }, rule.needs().mini_batches);
    match rule {
        Weighting::Losses(rule) => drop(rule.weights(&seen)),
        Weighting::Gram(rule) => {
            let all: Vec<&[f64]> = (0..batches).flat_map(|_| rows.iter().map(Vec::as_slice)).collect();
            rule.weights(&Gram::of_rows(&all), &seen);
        }
        Weighting::Jacobian(rule) => {
            let dense = Dense::new(rows).expect("rows of one length");
            rule.direction(&vec![&dense as &dyn Jacobian; batches], &seen, &mut |_, _| {});
        }
    }
    rule.losses_after_step(&losses);
}
