//! `weigh --sequence`: a rule over the steps of a file, with its state from one to the next.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use mtl_task::rng::Key;
use mtl_task::{Progress, TaskId};
use mtl_weighting::{CachedWeights, Class, Dense, Gram, GroupRule, Outcome, Rule};
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, MOST_ROWS, MOST_TASKS, Noise, Shown, answer, decide, first_of, inner_products};

/// One line of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    losses: Vec<f64>,
    losses_after: Vec<f64>,
    likelihood: Vec<Noise>,
    jacobian: Option<Vec<Vec<f64>>>,
    mini_batches: Vec<Vec<Vec<f64>>>,
    gram: Option<Vec<Vec<f64>>>,
    tasks: Option<Vec<usize>>,
}

/// The rule's answers to the steps of the file at `path`, out of a run of `of` steps, or of as many as there are.
///
/// # Errors
/// If the file cannot be read, a line is no step, or a step lacks what the rule looks at; names the line.
pub(super) fn weigh(entry: &Rule, settings: &Value, path: &Path, of: Option<usize>) -> Result<Vec<Answer>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let place = |line: usize| format!("{}, line {}", path.display(), line + 1);
    let mut steps: Vec<(usize, Step)> = Vec::new();
    for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        steps.push((line, serde_json::from_str(text).with_context(|| place(line))?));
    }
    ensure!(!steps.is_empty(), "{}: a sequence needs at least one step, found none", path.display());
    let of = of.unwrap_or(steps.len());
    ensure!(of >= steps.len(), "--steps is {of}, but {} has {} steps", path.display(), steps.len());
    let counted = |(line, step): &(usize, Step)| step.reach().with_context(|| place(*line));
    let tasks = steps.iter().map(counted).collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
    let group: Vec<TaskId> = (0..tasks).map(TaskId).collect();
    let mut rule = GroupRule::new(entry, settings, &group, tasks).map_err(|error| anyhow!(error))?;
    let count = steps.len();
    let one = |(number, (line, step)): (usize, (usize, Step))| {
        let progress = Progress { step: number, of };
        decided(entry, &mut rule, step, progress, number + 1 == count).with_context(|| place(line))
    };
    steps.into_iter().enumerate().map(one).collect()
}

/// One step, its losses after it included.
fn decided(entry: &Rule, rule: &mut GroupRule, step: Step, progress: Progress, last: bool) -> Result<Answer> {
    let present = step.present(rule.tasks().len())?;
    let after = step.losses_after.clone();
    let shown = step.shown(entry, present.len())?;
    let needs = rule.needs();
    let given = shown.gram.tasks() / shown.tasks;
    if given != 1 && given != needs.mini_batches {
        bail!(
            "`{}` looks at {} mini-batches, found {given}: give as many, or one for all",
            entry.name,
            needs.mini_batches
        );
    }
    if needs.losses_after_step && after.is_empty() && !last {
        bail!("`{}` looks at the losses after the step: give them as losses_after", entry.name);
    }
    if !after.is_empty() && after.len() != present.len() {
        bail!("losses_after has {} values for {} tasks", after.len(), present.len());
    }
    if let Some(cached) = rule.cached(&present, progress).map_err(|error| anyhow!(error))? {
        return Ok(answer(held(cached, &shown), None, &shown, true));
    }
    let key = Key::new(0).with(progress.step as u64);
    let found = rule.step(&present, |rule| {
        let answer = decide(entry, rule, &shown, progress, key);
        if !after.is_empty() {
            rule.losses_after_step(&after);
        }
        answer
    });
    found.map_err(|error| anyhow!(error))?
}

/// The outcome of weights that still hold, clipped as the trainer does.
fn held(cached: CachedWeights, shown: &Shown) -> Outcome {
    let mut outcome = Outcome::exact(cached.weights);
    let norm = first_of(shown).quadratic(&outcome.weights).max(0.0).sqrt();
    if let Some(bound) = cached.max_norm.filter(|bound| norm > *bound) {
        outcome.clip = bound / norm;
        outcome.weights.iter_mut().for_each(|weight| *weight *= outcome.clip);
    }
    outcome
}

impl Step {
    /// How many tasks take part, by whatever is given of them.
    fn size(&self) -> Option<usize> {
        let gradients = self.jacobian.as_ref().or(self.mini_batches.first()).map(Vec::len);
        let losses = (!self.losses.is_empty()).then_some(self.losses.len());
        self.tasks.as_ref().map(Vec::len).or(gradients).or(losses).or(self.gram.as_ref().map(Vec::len))
    }

    /// How many tasks there are at least.
    fn reach(&self) -> Result<usize> {
        let reach = match (&self.tasks, self.size()) {
            (Some(tasks), _) => *tasks.iter().max().context("a step needs at least one task")?,
            (None, Some(size)) => size.saturating_sub(1),
            (None, None) => bail!("a step needs losses, a jacobian, mini_batches or a gram"),
        };
        ensure!(reach < MOST_TASKS, "task {reach}: at most {MOST_TASKS} tasks are weighed, counted from 0");
        let rows = self.mini_batches.iter().map(Vec::len).sum::<usize>();
        ensure!(rows <= MOST_ROWS, "mini_batches have {rows} rows in all; at most {MOST_ROWS} are weighed");
        Ok(if self.tasks.is_none() && self.size() == Some(0) { 0 } else { reach.saturating_add(1) })
    }

    /// The tasks that take part.
    fn present(&self, tasks: usize) -> Result<Vec<TaskId>> {
        if let Some(tasks) = &self.tasks {
            return Ok(tasks.iter().copied().map(TaskId).collect());
        }
        match self.size() {
            Some(size) if size == tasks => Ok((0..tasks).map(TaskId).collect()),
            size => bail!("a step of {} of {tasks} tasks: say which take part as `tasks`", size.unwrap_or(0)),
        }
    }

    /// What `tasks` tasks show to the rule.
    fn shown(self, entry: &Rule, tasks: usize) -> Result<Shown> {
        for (key, values) in [("losses", self.losses.len()), ("likelihood", self.likelihood.len())] {
            ensure!(values == 0 || values == tasks, "{key} has {values} values for {tasks} tasks");
        }
        if entry.class == Class::Losses && self.losses.is_empty() {
            bail!("`{}` looks at losses: give them as losses", entry.name);
        }
        let given = [self.jacobian.is_some(), !self.mini_batches.is_empty(), self.gram.is_some()];
        ensure!(given.iter().filter(|given| **given).count() <= 1, "give one of jacobian, mini_batches and gram");
        let mut mini_batches = Vec::new();
        for rows in self.jacobian.into_iter().chain(self.mini_batches) {
            ensure!(rows.len() == tasks, "a Jacobian has {} rows for {tasks} tasks", rows.len());
            let dense = Dense::new(rows).map_err(|error| anyhow!(error))?;
            mini_batches.push(dense);
        }
        let columns = mini_batches.iter().map(mtl_weighting::Jacobian::columns);
        ensure!(columns.clone().min() == columns.max(), "mini_batches differ in their columns");
        let gram = match self.gram {
            Some(rows) => {
                let whole = !rows.is_empty() && rows.len().is_multiple_of(tasks);
                ensure!(whole, "gram has {} rows for {tasks} tasks: K of them, or K for every mini-batch", rows.len());
                inner_products(&rows)?
            }
            None if !mini_batches.is_empty() => {
                let rows: Vec<&[f64]> =
                    mini_batches.iter().flat_map(|rows| (0..tasks).map(|task| rows.row(task))).collect();
                Gram::of_rows(&rows)
            }
            None if entry.class == Class::Losses => Gram::zeros(tasks),
            None => bail!("`{}` looks at gradients: give them as jacobian, mini_batches or gram", entry.name),
        };
        Ok(Shown {
            losses: self.losses,
            likelihood: self.likelihood.into_iter().map(Into::into).collect(),
            mini_batches,
            gram,
            tasks,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(rule: &str, settings: Value, lines: &[Value]) -> Result<Vec<Answer>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("steps.jsonl");
        std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        let registries = crate::Registries::default();
        weigh(registries.rules.find(rule)?, &settings, &path, None)
    }

    fn weights(rule: &str, settings: Value, lines: &[Value]) -> Vec<Vec<f64>> {
        run(rule, settings, lines).expect("weighed").into_iter().map(|answer| answer.outcome.weights).collect()
    }

    fn close(found: &[f64], right: &[f64]) {
        assert_eq!(found.len(), right.len());
        assert!(found.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?} is not {right:?}");
    }

    /// FAMO by hand: z = ½ at first, w ∝ z/ℓ; then Adam moves ξ by its rate against the sign of z (δ − ⟨z, δ⟩).
    #[test]
    fn a_rule_keeps_its_state_and_sees_the_losses_after_the_step() {
        let lines = [json!({"losses": [1.0, 2.0], "losses_after": [0.5, 2.0]}), json!({"losses": [1.0, 1.0]})];
        let found = weights("famo", json!({"decay": 0, "rate": 0.1}), &lines);
        close(&found[0], &[2.0 / 3.0, 1.0 / 3.0]);
        let (low, high) = ((-0.1f64).exp(), 0.1f64.exp());
        // The losses are alike up to the 1e-8 that is added to both.
        assert!((found[1][0] - low / (low + high)).abs() < 1e-6, "{found:?}");
        let missing =
            format!("{:#}", run("famo", json!({}), &[lines[1].clone(), lines[1].clone()]).err().expect("refused"));
        assert!(missing.contains("line 1: `famo` looks at the losses after the step"), "{missing}");
    }

    #[test]
    fn a_likelihood_doubles_the_weight_of_a_categorical_task() {
        let line = json!({"losses": [1.0, 1.0], "likelihood": ["gaussian", "categorical"]});
        close(&weights("uncertainty", json!({}), &[line])[0], &[0.5, 1.0]);
    }

    #[test]
    fn mini_batches_are_told_apart() {
        let rows = [json!([[1.0, 0.0], [0.0, 1.0]]), json!([[2.0, 0.0], [0.0, 1.0]]), json!([[3.0, 0.0], [0.0, 1.0]])];
        // λ ← Π(½ − γ G₁₂ ½): G₁₂ = diag(6, 1), so ½ − 0.03 and ½ − 0.005, then moved to sum to 1.
        let settings = json!({"gamma": 0.01, "rho": 0.0});
        let found = weights("modo", settings.clone(), &[json!({"mini_batches": rows})]);
        close(&found[0], &[0.4875, 0.5125]);
        let gram: Vec<Vec<f64>> = [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 1.0]]
            .iter()
            .map(|a: &[f64; 2]| {
                [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 1.0]]
                    .iter()
                    .map(|b: &[f64; 2]| a[0] * b[0] + a[1] * b[1])
                    .collect()
            })
            .collect();
        let by_gram = weights("modo", settings, &[json!({"losses": [1.0, 1.0], "gram": gram})]);
        close(&by_gram[0], &found[0]);
    }

    #[test]
    fn weights_hold_between_two_bargains_and_tasks_may_sit_out() {
        let first = json!({"jacobian": [[2.0, 0.0], [0.0, 1.0]]});
        let other = json!({"jacobian": [[4.0, 0.0], [0.0, 4.0]]});
        let settings = json!({"max_norm": "none", "refresh": 2});
        let answers = run("nash", settings, &[first.clone(), other.clone(), other.clone()]).expect("weighed");
        let statuses: Vec<String> = answers.iter().map(Answer::status).collect();
        assert_eq!(statuses, ["agreed", "cached", "agreed"]);
        close(&answers[1].outcome.weights, &[0.5, 1.0]);
        close(&answers[1].progress, &[8.0, 16.0]);
        close(&answers[2].outcome.weights, &[0.25, 0.25]);
        let part = json!({"tasks": [1], "losses": [0.5]});
        close(&weights("mean", json!({}), &[json!({"losses": [1.0, 2.0]}), part])[1], &[1.0]);
    }

    #[test]
    fn a_step_that_is_none_names_its_line() {
        let message =
            |rule: &str, lines: &[Value]| format!("{:#}", run(rule, json!({}), lines).err().expect("refused"));
        let good = json!({"losses": [1.0, 2.0]});
        for (rule, bad, reason) in [
            ("equal", json!({"loss": [1.0]}), "line 2: unknown field `loss`"),
            ("equal", json!({}), "line 2: a step needs losses"),
            ("equal", json!({"losses": [1.0]}), "line 2: a step of 1 of 2 tasks"),
            ("equal", json!({"losses": [1.0, 2.0], "likelihood": ["gaussian"]}), "likelihood has 1 values for 2 tasks"),
            ("equal", json!({"jacobian": [[1.0], [2.0]]}), "line 2: `equal` looks at losses"),
        ] {
            let found = message(rule, &[good.clone(), bad]);
            assert!(found.contains(reason), "{found}");
        }
        assert!(message("nash", &[good]).contains("line 1: `nash` looks at gradients"));
        let odd = json!({"jacobian": [[1.0, 2.0], [3.0]]});
        assert!(message("nash", &[odd]).contains("row 1 has 1 columns"));
        let two = json!({"mini_batches": [[[1.0], [3.0]], [[1.0], [3.0]]]});
        assert!(message("modo", &[two]).contains("`modo` looks at 3 mini-batches, found 2"));
        let twice = json!({"jacobian": [[1.0], [3.0]], "gram": [[1.0, 0.0], [0.0, 1.0]]});
        assert!(message("nash", &[twice]).contains("one of jacobian, mini_batches and gram"));
        assert!(message("nash", &[]).contains("at least one step"));
    }
}
