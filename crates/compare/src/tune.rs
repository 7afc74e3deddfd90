//! Hyper-parameters: what is tried on dev, and what the final runs are given.

mod combinations;
mod rates;
mod search;
mod smooth;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_train::Keep;

use super::experiment::{SCALE, Tune};
use super::{Arm, Experiment, Plan, Planned, Purpose};
use search::Search;

/// A combination: values by key of the recipe, as they are written in an override.
pub(super) type Combination = BTreeMap<String, String>;

/// The lines of a stage: a rung of the tuning, a growth of its grids, or the final runs.
pub(super) fn stage(experiment: &Experiment, arms: &[Arm], stage: usize, plan: &Plan) -> Result<Vec<Planned>> {
    let (table, mut lines) = (&experiment.table, Vec::new());
    let trained = || arms.iter().filter(|arm| arm.of.is_empty());
    let rungs = table.tune.as_ref().map_or(0, Tune::rungs);
    let tuning = rungs + table.tune.as_ref().map_or(0, Tune::growth);
    if let Some(tune) = table.tune.as_ref().filter(|_| stage < tuning) {
        for arm in trained() {
            for combination in (Search { tune, arm, plan }).due(stage)? {
                for &seed in &tune.seeds {
                    let mut overrides = written(experiment, arm, &combination, (seed, seed))?;
                    overrides.extend(tune.dev_seed.map(|_| format!("train.dev_seed={seed}")));
                    // An arm that states epochs has no steps until its data is there.
                    match arm.steps == 0 && tune.steps.is_none() {
                        false => overrides.push(format!("train.steps={}", tune.steps_of(stage, arm.steps))),
                        true if tune.rungs() > 1 => bail!(
                            "arm `{}`: halving shares out steps, and train.epochs are none yet; state train.steps, or \
                             `steps` in [tune]",
                            arm.spec.name
                        ),
                        true => {}
                    }
                    overrides.push("evaluation.test=\"sealed\"".into());
                    overrides.push("evaluation.train_curve=false".into());
                    let recipe = experiment.resolved(&overrides)?;
                    let line = Planned { stage, tuned: combination.clone(), ..Planned::of(arm, Purpose::Tune, seed) };
                    lines.push(line.with(plan, &recipe)?);
                }
            }
        }
        return Ok(lines);
    }
    let mut due: Vec<(&Arm, Combination, Option<usize>)> = Vec::new();
    for arm in trained() {
        let Some(chosen) = chosen(table.tune.as_ref(), arm, plan)? else { continue };
        let steps = if arm.equal_compute { Some(affordable(experiment, arms, arm, plan)?) } else { None };
        due.push((arm, chosen, steps));
    }
    // Seed by seed, so that what is there is balanced if the plan is never finished.
    for seed in experiment.seeds() {
        for (arm, chosen, steps) in &due {
            for restart in 0..arm.restarts {
                let mut overrides = written(experiment, arm, chosen, (seed, restarted(seed, restart)?))?;
                overrides.extend(steps.map(|steps| format!("train.steps={steps}")));
                if table.leak {
                    overrides.push("evaluation.keep_evaluations=true".into());
                }
                let recipe = experiment.resolved(&overrides)?;
                let keep = table.keep_checkpoints;
                let line = Planned::of(arm, Purpose::Final, seed);
                lines.push(Planned { stage, restart, keep, tuned: chosen.clone(), ..line }.with(plan, &recipe)?);
            }
        }
    }
    Ok(lines)
}

/// Whether `stage` tries what a grid has grown by.
pub(super) fn is_growth(experiment: &Experiment, stage: usize) -> bool {
    let tune = experiment.table.tune.as_ref();
    tune.is_some_and(|tune| stage >= tune.rungs() && stage < tune.rungs() + tune.growth())
}

/// The seed of the `restart`-th training of `seed`, counted from 0, which is `seed` itself.
fn restarted(seed: u64, restart: usize) -> Result<u64> {
    // Far from every seed that anybody lists, and within TOML's whole numbers.
    let found = (restart as u64).checked_shl(40).and_then(|far| far.checked_add(seed));
    match found.filter(|found| restart == 0 || i64::try_from(*found).is_ok()) {
        Some(found) => Ok(found),
        None => bail!("seed {seed} has no further seeds for restarts; take smaller seeds"),
    }
}

/// The combination of an arm's final runs: the empty one if nothing is tuned, none if every tuning run broke.
pub(super) fn chosen(tune: Option<&Tune>, arm: &Arm, plan: &Plan) -> Result<Option<Combination>> {
    match tune.filter(|_| arm.of.is_empty()) {
        Some(tune) => Search { tune, arm, plan }.chosen(),
        None => Ok(Some(Combination::new())),
    }
}

/// How many steps of `arm` cost as many processor seconds as a final run of the baseline, by what a step cost in the
/// tuning runs; as many as the plan says, where the final runs are planned already: what a clock says is said once.
fn affordable(experiment: &Experiment, arms: &[Arm], arm: &Arm, plan: &Plan) -> Result<usize> {
    let of = |line: &&Planned| line.purpose == Purpose::Final && line.arm == arm.spec.name;
    if let Some(line) = plan.lines().iter().find(of) {
        return Ok(line.steps);
    }
    let cost = |name: &str| -> Result<f64> {
        let (mut seconds, mut steps) = (0., 0);
        for line in plan.lines().iter().filter(|line| line.purpose == Purpose::Tune && line.arm == name) {
            if let Some(record) = plan.record(line)?.filter(|record| record.diverged.is_none()) {
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

/// The changes of the base recipe that make a run of `arm` with `combination`: training examples by the first seed,
/// everything else by the second.
fn written(experiment: &Experiment, arm: &Arm, combination: &Combination, seeds: (u64, u64)) -> Result<Vec<String>> {
    let mut overrides = arm.overrides.clone();
    overrides.extend(combination.iter().filter(|(key, _)| *key != SCALE).map(|(key, value)| format!("{key}={value}")));
    if let Some(scale) = combination.get(SCALE) {
        // Of what the arm has without it.
        let mut own = arm.overrides.clone();
        let others = combination.iter().filter(|(key, _)| ![SCALE, rates::TASK_RATES].contains(&key.as_str()));
        own.extend(others.map(|(key, value)| format!("{key}={value}")));
        let scaled = rates::scaled(&experiment.resolved(&own)?, rates::number(scale)?);
        let alone = combination.contains_key(rates::TASK_RATES);
        let task_rates = format!("{}=", rates::TASK_RATES);
        overrides.extend(scaled.into_iter().filter(|text| !(alone && text.starts_with(&task_rates))));
    }
    overrides.push(format!("train.seed={}", seeds.1));
    overrides.extend(experiment.sampling.overrides(seeds.0));
    Ok(overrides)
}

/// What a reader has to know of how arms were tuned and how their steps were chosen.
pub(super) fn notes(tune: Option<&Tune>, arms: &[Arm], plan: &Plan) -> Result<Vec<String>> {
    let mut said = match tune {
        Some(tune) => search::said(tune, arms, plan)?,
        None => Vec::new(),
    };
    let trained = || arms.iter().filter(|arm| arm.of.is_empty());
    let names = |of: &dyn Fn(&&Arm) -> bool| -> Vec<String> {
        trained().filter(of).map(|arm| format!("`{}`", arm.spec.name)).collect()
    };
    let each = names(&|arm| arm.recipe.evaluation.keep == Keep::Each);
    let all = names(&|arm| arm.recipe.evaluation.keep == Keep::Best);
    if !each.is_empty() && !all.is_empty() {
        said.push(format!(
            "each task keeps its own best step in {}, and one step serves all tasks in {}",
            each.join(", "),
            all.join(", ")
        ));
    }
    let by_task = names(&|arm| arm.apart);
    let at_once = names(&|arm| !arm.apart);
    if tune.is_some_and(|tune| tune.rate_key().is_some()) && !by_task.is_empty() && !at_once.is_empty() {
        said.push(format!(
            "each task has its own learning rate in {}, and one serves all tasks in {}",
            by_task.join(", "),
            at_once.join(", ")
        ));
    }
    Ok(said)
}
