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

/// What a stage of the plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A rung of the tuning, or a growth of its grids, of the arms that learn from others' runs or of all others.
    Tune { rung: usize, taught: bool },
    /// What teaches in the tuning of those: the teachers as they were tuned, by the tuning seeds.
    Teach,
    /// Final runs.
    Final { taught: bool },
}

/// The stages of the plan. Arms with teachers come after those, in the tuning as in the final runs; no final run is before
/// any tuning. Without such arms the tuning and one stage of final runs are all.
fn laid_out(experiment: &Experiment, arms: &[Arm]) -> Vec<Stage> {
    let tuning = |taught| (0..experiment.tuning_stages()).map(move |rung| Stage::Tune { rung, taught });
    if !arms.iter().any(|arm| !arm.teachers.is_empty()) {
        return tuning(false).chain([Stage::Final { taught: false }]).collect();
    }
    let teach = experiment.table.tune.iter().map(|_| Stage::Teach);
    let last = [false, true].map(|taught| Stage::Final { taught });
    tuning(false).chain(teach).chain(tuning(true)).chain(last).collect()
}

/// How many stages the plan has.
pub(super) fn stages(experiment: &Experiment, arms: &[Arm]) -> usize {
    laid_out(experiment, arms).len()
}

/// Whether nobody could count the runs of `stage` beforehand: those of a grid that has grown, and those that teach.
pub(super) fn is_unforeseen(experiment: &Experiment, arms: &[Arm], stage: usize) -> bool {
    let rungs = experiment.table.tune.as_ref().map_or(0, Tune::rungs);
    match laid_out(experiment, arms).get(stage) {
        Some(Stage::Tune { rung, .. }) => *rung >= rungs,
        Some(Stage::Teach) => true,
        Some(Stage::Final { .. }) | None => false,
    }
}

/// The lines of a stage.
pub(super) fn stage(experiment: &Experiment, arms: &[Arm], stage: usize, plan: &Plan) -> Result<Vec<Planned>> {
    match laid_out(experiment, arms).get(stage) {
        Some(Stage::Tune { rung, taught }) => tuning(experiment, arms, (stage, *rung, *taught), plan),
        Some(Stage::Teach) => teaching(experiment, arms, stage, plan),
        Some(Stage::Final { taught }) => finals(experiment, arms, (stage, *taught), plan),
        None => Ok(Vec::new()),
    }
}

/// The arms that are trained and have teachers, or those that have none.
fn trained(arms: &[Arm], taught: bool) -> impl Iterator<Item = &Arm> {
    arms.iter().filter(move |arm| arm.of.is_empty() && arm.teachers.is_empty() != taught)
}

fn tuning(
    experiment: &Experiment,
    arms: &[Arm],
    (stage, rung, taught): (usize, usize, bool),
    plan: &Plan,
) -> Result<Vec<Planned>> {
    let mut lines = Vec::new();
    let Some(tune) = &experiment.table.tune else { return Ok(lines) };
    for arm in trained(arms, taught) {
        for combination in (Search { tune, arm, plan }).due(rung)? {
            for &seed in &tune.seeds {
                let mut overrides = written(experiment, arm, &combination, (seed, seed))?;
                overrides.extend(taught_by(arm, plan, Purpose::Tune, seed)?);
                overrides.extend(sealed(tune, arm, (rung, seed))?);
                let recipe = experiment.resolved(&overrides)?;
                let line = Planned { stage, tuned: combination.clone(), ..Planned::of(arm, Purpose::Tune, seed) };
                lines.push(line.with(plan, &recipe)?);
            }
        }
    }
    Ok(lines)
}

/// What every tuning run of `arm` on `rung` is by `seed`: so long, sealed, and on dev examples of its own if that is asked.
fn sealed(tune: &Tune, arm: &Arm, (rung, seed): (usize, u64)) -> Result<Vec<String>> {
    let mut overrides = ["evaluation.test=\"sealed\"", "evaluation.train_curve=false"].map(String::from).to_vec();
    overrides.extend(tune.dev_seed.map(|_| format!("train.dev_seed={seed}")));
    // An arm that states epochs has no steps until its data is there.
    match arm.steps == 0 && tune.steps.is_none() {
        false => overrides.insert(0, format!("train.steps={}", tune.steps_of(rung, arm.steps))),
        true if tune.rungs() > 1 => bail!(
            "arm `{}`: halving shares out steps, and train.epochs are none yet; state train.steps, or `steps` in [tune]",
            arm.spec.name
        ),
        true => {}
    }
    Ok(overrides)
}

/// The arms that teach, as they were tuned, by the tuning seeds: their checkpoints stay.
fn teaching(experiment: &Experiment, arms: &[Arm], stage: usize, plan: &Plan) -> Result<Vec<Planned>> {
    let mut lines = Vec::new();
    let Some(tune) = &experiment.table.tune else { return Ok(lines) };
    for arm in arms.iter().filter(|arm| teaches(arms, arm)) {
        let Some(combination) = chosen(Some(tune), arm, plan)? else { continue };
        for &seed in &tune.seeds {
            let mut overrides = written(experiment, arm, &combination, (seed, seed))?;
            overrides.extend(sealed(tune, arm, (tune.rungs() - 1, seed))?);
            // Another run than the trial with the same settings, whose weights are gone.
            overrides.push("evaluation.train_curve=true".into());
            let recipe = experiment.resolved(&overrides)?;
            let line = Planned::of(arm, Purpose::Tune, seed);
            let line = Planned { stage, keep: true, tuned: combination.clone(), ..line };
            lines.push(line.with(plan, &recipe)?);
        }
    }
    Ok(lines)
}

/// Whether some arm learns from the runs of `arm`.
fn teaches(arms: &[Arm], arm: &Arm) -> bool {
    arms.iter().any(|other| other.teachers.contains(&arm.spec.name))
}

/// The folders of the teachers of `arm` for a run of `seed`, as an override; none without teachers.
fn taught_by(arm: &Arm, plan: &Plan, purpose: Purpose, seed: u64) -> Result<Option<String>> {
    let Some(distill) = arm.recipe.distill.as_ref().filter(|_| !arm.teachers.is_empty()) else { return Ok(None) };
    let teachers = distill.teachers.with_arms(|teacher| {
        let fits = |line: &&Planned| line.arm == teacher && line.purpose == purpose && line.seed == seed && line.keep;
        match plan.lines().iter().rev().find(fits) {
            Some(line) => Ok(std::path::absolute(plan.folder(line))?.to_string_lossy().into_owned()),
            None => bail!(
                "arm `{}`: its teacher `{teacher}` has no run with seed {seed}: every trial of it broke",
                arm.spec.name
            ),
        }
    })?;
    Ok(Some(format!("distill.teachers={}", toml::Value::try_from(teachers)?)))
}

fn finals(experiment: &Experiment, arms: &[Arm], (stage, taught): (usize, bool), plan: &Plan) -> Result<Vec<Planned>> {
    let (table, mut lines) = (&experiment.table, Vec::new());
    let mut due: Vec<(&Arm, Combination, Option<usize>)> = Vec::new();
    for arm in trained(arms, taught) {
        let Some(chosen) = chosen(table.tune.as_ref(), arm, plan)? else { continue };
        let steps = if arm.equal_compute { Some(affordable(experiment, arms, arm, plan)?) } else { None };
        due.push((arm, chosen, steps));
    }
    // Seed by seed, so that what is there is balanced if the plan is never finished.
    for seed in experiment.seeds() {
        for (arm, chosen, steps) in &due {
            for restart in 0..arm.restarts {
                let mut overrides = written(experiment, arm, chosen, (seed, restarted(seed, restart)?))?;
                overrides.extend(taught_by(arm, plan, Purpose::Final, seed)?);
                overrides.extend(steps.map(|steps| format!("train.steps={steps}")));
                if table.leak {
                    overrides.push("evaluation.keep_evaluations=true".into());
                }
                let recipe = experiment.resolved(&overrides)?;
                let keep = table.keep_checkpoints || teaches(arms, arm);
                let line = Planned::of(arm, Purpose::Final, seed);
                lines.push(Planned { stage, restart, keep, tuned: chosen.clone(), ..line }.with(plan, &recipe)?);
            }
        }
    }
    Ok(lines)
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
    for arm in arms.iter().filter(|arm| !arm.teachers.is_empty()) {
        let teachers = arm.teachers.join("`, `");
        said.push(format!("`{}` learns from the runs of `{teachers}`, and is charged with them too", arm.spec.name));
    }
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
