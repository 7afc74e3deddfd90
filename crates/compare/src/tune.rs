//! Tuning on dev: which combinations are tried, and which one an arm's final runs take.
//!
//! Every arm, the baseline among them, tries the same combinations for the same steps and seeds. The better one has the
//! higher headline score on dev, averaged over tasks and tuning seeds; the first one of equals. In an arm whose tasks
//! never meet, the single-task baseline above all, each task takes the learning rate that is best for it: that is what
//! tuning its model alone would have found. Successive halving
//! (Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016) begins with all combinations and a
//! fraction of the steps, and keeps the better half while doubling the steps.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_task::rng::{Key, Stream};

use super::experiment::{Keys, Method, Tune};
use super::{Arm, Experiment, Plan, Planned, Purpose};

/// A combination: values by key of the recipe, as they are written in an override.
pub(super) type Combination = BTreeMap<String, String>;

/// The lines of a stage: a rung of the tuning, or the final runs.
pub(super) fn stage(experiment: &Experiment, arms: &[Arm], stage: usize, plan: &Plan) -> Result<Vec<Planned>> {
    let (table, mut lines) = (&experiment.table, Vec::new());
    let rungs = table.tune.as_ref().map_or(0, Tune::rungs);
    if let Some(tune) = table.tune.as_ref().filter(|_| stage < rungs) {
        for arm in arms {
            for combination in survivors(tune, arm, stage, plan)? {
                for seed in &tune.seeds {
                    let mut overrides = written(&arm.overrides, &combination, *seed);
                    // An arm that states epochs has no steps until its data is there.
                    match arm.steps == 0 && tune.steps.is_none() {
                        false => overrides.push(format!("train.steps={}", tune.steps_of(stage, arm.steps))),
                        true if rungs > 1 => bail!(
                            "arm `{}`: halving shares out steps, and train.epochs are none yet; state train.steps, or \
                             `steps` in [tune]",
                            arm.spec.name
                        ),
                        true => {}
                    }
                    overrides.push("evaluation.test=\"sealed\"".into());
                    overrides.push("evaluation.train_curve=false".into());
                    let recipe = experiment.resolved(&overrides)?;
                    let line = Planned::new(plan, stage, &arm.spec.name, Purpose::Tune, &combination, false, &recipe)?;
                    lines.push(line);
                }
            }
        }
        return Ok(lines);
    }
    let mut due: Vec<(&Arm, Combination, Option<usize>)> = Vec::new();
    for arm in arms {
        let Some(chosen) = chosen(table.tune.as_ref(), arm, plan)? else { continue };
        let steps = if arm.equal_compute { Some(affordable(experiment, arms, arm, plan)?) } else { None };
        due.push((arm, chosen, steps));
    }
    // Seed by seed, so that what is there is balanced if the plan is never finished.
    for seed in experiment.seeds() {
        for (arm, chosen, steps) in &due {
            let mut overrides = written(&arm.overrides, chosen, seed);
            overrides.extend(steps.map(|steps| format!("train.steps={steps}")));
            if table.leak {
                overrides.push("evaluation.keep_evaluations=true".into());
            }
            let recipe = experiment.resolved(&overrides)?;
            let keep = table.keep_checkpoints;
            lines.push(Planned::new(plan, stage, &arm.spec.name, Purpose::Final, chosen, keep, &recipe)?);
        }
    }
    Ok(lines)
}

/// The combination of an arm's final runs: the empty one if nothing is tuned, none if every tuning run broke.
pub(super) fn chosen(tune: Option<&Tune>, arm: &Arm, plan: &Plan) -> Result<Option<Combination>> {
    let Some(tune) = tune else { return Ok(Some(Combination::new())) };
    let ranked = ranked(tune, arm, tune.rungs() - 1, plan)?;
    if !arm.apart || !tune.keys.contains_key(RATE) {
        return Ok(ranked.into_iter().next());
    }
    // Of every combination of the other keys, each task's best rate; then the combination that is best so.
    let mut best: Option<(f64, Combination)> = None;
    let mut tried: Vec<Combination> = Vec::new();
    for first in &ranked {
        let others = without_rate(first);
        if tried.contains(&others) {
            continue;
        }
        let mut by_task: BTreeMap<String, (f64, &String)> = BTreeMap::new();
        for combination in ranked.iter().filter(|combination| without_rate(combination) == others) {
            for (task, score) in dev_scores(tune, arm, tune.rungs() - 1, plan, combination)? {
                if by_task.get(&task).is_none_or(|(best, _)| score > *best) {
                    by_task.insert(task, (score, &combination[RATE]));
                }
            }
        }
        let mean = by_task.values().map(|(score, _)| score).sum::<f64>() / by_task.len().max(1) as f64;
        if best.as_ref().is_none_or(|(best, _)| mean > *best) {
            let rates: Vec<String> = by_task.iter().map(|(task, (_, rate))| format!("\"{task}\" = {rate}")).collect();
            let mut chosen = first.clone();
            chosen.insert("optimizer.task_rates".into(), format!("{{ {} }}", rates.join(", ")));
            best = Some((mean, chosen));
        }
        tried.push(others);
    }
    Ok(best.map(|(_, chosen)| chosen))
}

/// The key that a task may have to itself.
const RATE: &str = "optimizer.rate";

fn without_rate(combination: &Combination) -> Combination {
    combination.iter().filter(|(key, _)| *key != RATE).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// How many steps of `arm` cost as many processor seconds as a final run of the baseline, by what a step cost in the
/// tuning runs.
fn affordable(experiment: &Experiment, arms: &[Arm], arm: &Arm, plan: &Plan) -> Result<usize> {
    let cost = |name: &str| -> Result<f64> {
        let (mut seconds, mut steps) = (0., 0);
        for line in plan.lines().iter().filter(|line| line.purpose == Purpose::Tune && line.arm == name) {
            if let Some(record) = plan.record(line)? {
                seconds += record.cpu_seconds;
                steps += record.steps;
            }
        }
        if steps == 0 || seconds <= 0. {
            bail!("arm `{name}`: no tuning run finished, so what a step costs is not known");
        }
        Ok(seconds / steps as f64)
    };
    let baseline = &experiment.table.baseline;
    let steps = arms.iter().find(|arm| arm.spec.name == *baseline).map_or(arm.steps, |arm| arm.steps);
    if steps == 0 {
        bail!("equal_compute counts steps, and train.epochs are none yet; state train.steps in arm `{baseline}`");
    }
    Ok(((steps as f64 * cost(baseline)? / cost(&arm.spec.name)?).round() as usize).max(1))
}

fn written(overrides: &[String], combination: &Combination, seed: u64) -> Vec<String> {
    let tuned = combination.iter().map(|(key, value)| format!("{key}={value}"));
    overrides.iter().cloned().chain(tuned).chain([format!("train.seed={seed}")]).collect()
}

/// The combinations that `arm` tries on `rung`.
fn survivors(tune: &Tune, arm: &Arm, rung: usize, plan: &Plan) -> Result<Vec<Combination>> {
    if rung == 0 {
        return Ok(tune.combinations());
    }
    let mut better = ranked(tune, arm, rung - 1, plan)?;
    better.truncate(tune.sizes()[rung]);
    Ok(better)
}

/// The combinations of `arm` on `rung` that some run finished, best first.
fn ranked(tune: &Tune, arm: &Arm, rung: usize, plan: &Plan) -> Result<Vec<Combination>> {
    let mut scored: Vec<(f64, Combination)> = Vec::new();
    for combination in survivors(tune, arm, rung, plan)? {
        let tasks = dev_scores(tune, arm, rung, plan, &combination)?;
        if !tasks.is_empty() {
            scored.push((tasks.values().sum::<f64>() / tasks.len() as f64, combination));
        }
    }
    // The sort is stable: of equals the first one stays first.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(scored.into_iter().map(|(_, combination)| combination).collect())
}

/// Each task's headline score on dev, mean over the tuning seeds; empty if the run of some seed broke.
fn dev_scores(
    tune: &Tune,
    arm: &Arm,
    rung: usize,
    plan: &Plan,
    combination: &Combination,
) -> Result<BTreeMap<String, f64>> {
    let (mut scores, mut runs) = (BTreeMap::<String, f64>::new(), 0);
    let own = |line: &&Planned| line.stage == rung && line.arm == arm.spec.name && line.tuned == *combination;
    for line in plan.lines().iter().filter(own) {
        let Some(record) = plan.record(line)? else { continue };
        if record.test_opened_at.is_some() {
            bail!("run {}: a tuning run opened the test split; its result must not be used", line.id);
        }
        runs += 1;
        for (name, task) in &record.tasks {
            *scores.entry(name.clone()).or_default() += task.dev.get(&task.headline).copied().unwrap_or_default();
        }
    }
    if runs < tune.seeds.len() {
        return Ok(BTreeMap::new());
    }
    scores.values_mut().for_each(|score| *score /= runs as f64);
    Ok(scores)
}

impl Tune {
    /// How many combinations each rung tries.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![self.combinations().len()];
        while let (Method::Halving, Some(&last)) = (self.method, sizes.last()) {
            if last <= 2 {
                break;
            }
            sizes.push(last.div_ceil(2));
        }
        sizes
    }

    pub(super) fn rungs(&self) -> usize {
        self.sizes().len()
    }

    /// Steps on `rung` for an arm whose final runs have `full`.
    pub(super) fn steps_of(&self, rung: usize, full: usize) -> usize {
        let last = self.steps.unwrap_or(full);
        last.div_ceil(1 << (self.rungs() - 1 - rung).min(30)).max(1)
    }

    /// The combinations that are tried first, the same ones for every arm.
    pub(super) fn combinations(&self) -> Vec<Combination> {
        let ranges = self.keys.values().any(|values| matches!(values, Keys::Range { .. }));
        if !ranges {
            let all = self.product();
            let budget = if self.method == Method::Grid || self.budget == 0 { all.len() } else { self.budget };
            if budget >= all.len() {
                return all;
            }
            let mut drawn = Key::new(0).named("tune").stream().permutation(all.len())[..budget].to_vec();
            drawn.sort_unstable();
            return drawn.into_iter().map(|at| all[at].clone()).collect();
        }
        let draw = |at: usize| {
            let mut stream = Key::new(0).named("tune").with(at as u64).stream();
            self.keys.iter().map(|(key, values)| (key.clone(), values.draw(&mut stream))).collect()
        };
        (0..self.budget).map(draw).collect()
    }

    fn product(&self) -> Vec<Combination> {
        let mut all = vec![Combination::new()];
        for (key, values) in &self.keys {
            let Keys::List(values) = values else { continue };
            let with = |known: &Combination, value: &toml::Value| {
                let mut longer = known.clone();
                longer.insert(key.clone(), value.to_string());
                longer
            };
            all = all.iter().flat_map(|known| values.iter().map(move |value| with(known, value))).collect();
        }
        all
    }
}

impl Keys {
    fn draw(&self, stream: &mut Stream) -> String {
        match self {
            Self::List(values) => values[stream.below(values.len())].to_string(),
            Self::Range { low, high } => {
                // Three digits are as many as a tuned rate has a use for.
                format!("{:.2e}", (low.ln() + (high.ln() - low.ln()) * stream.uniform()).exp())
            }
        }
    }
}
