//! One arm over all its tasks: gains, tests over seeds, cost and stability.

use std::collections::BTreeMap;

use anyhow::Result;

use super::curves::{mean_curve, thinned, values};
use super::gain::Ratios;
use super::table::{Table, mean, score};
use super::{ArmResult, ArmSpec, ArmTask, Curve, RunRecord, task, warnings};
use crate::stats::{Resamples, cohens_dz, paired_t, settled, wilcoxon};
use crate::transfer::{Transfer, divergences, negative_share, parameter_reduction, volatility};

/// A loss has run away if its mean over so many steps is `DIVERGED` times the lowest such mean before.
const WINDOW: usize = 20;
const DIVERGED: f64 = 3.;

/// What the runs of `arm` say together; its rank, its p corrected over arms and its verdict are set where all arms are
/// known.
pub(super) fn result(table: &Table, arm: &ArmSpec) -> Result<ArmResult> {
    let finished: Vec<&RunRecord> = table.runs(&arm.name).collect();
    // What a run that diverged cost, and what its curves show, is of no use to anyone.
    let sound: Vec<&RunRecord> = finished.iter().copied().filter(|run| run.diverged.is_none()).collect();
    let runs = if sound.is_empty() { finished.clone() } else { sound };
    let confidence = 1. - table.question.level;
    let (mut tasks, mut resamples) = (Vec::new(), Vec::new());
    for name in &table.question.tasks {
        let found = task::resamples(table, arm, name)?;
        let transfer = found.as_ref().map(|found| found.interval(confidence)).transpose()?;
        tasks.push(task::result(table, arm, name, transfer));
        resamples.extend(found.map(|found| (name.as_str(), found)));
    }
    let negative = corrected(table, &mut tasks)?;
    let other = arm.name != table.question.baseline;
    let differences = if other { differences(table, arm) } else { Vec::new() };
    let equal: Vec<(f64, &Resamples)> =
        resamples.iter().map(|(_, found)| (1. / resamples.len() as f64, found)).collect();
    // A task with a single example has no interval, and the mean over tasks none with it.
    let whole = resamples.len() == table.judged_tasks(&arm.name).len() && !resamples.is_empty();
    let headline = if whole { Some(Resamples::weighted(&equal)?.interval(confidence)?) } else { None };
    let ratios = Ratios::new(table, arm);
    let over = |value: fn(&RunRecord) -> f64| mean(runs.iter().map(|run| value(run))).unwrap_or(0.);
    let first = runs.first();
    let (parameters, single) = first.map_or((0, 0), |run| (run.parameters, run.single_task_parameters));
    let losses: Vec<Vec<f64>> = curves(&runs, table, |record| &record.loss_curve);
    let weights: Vec<Vec<f64>> = curves(&runs, table, |record| &record.weight_curve);
    let restless = |series: &[Vec<f64>]| mean(series.iter().map(|values| volatility(values)));
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for (name, count) in runs.iter().flat_map(|run| &run.outcomes) {
        *outcomes.entry(name.clone()).or_default() += count;
    }
    Ok(ArmResult {
        arm: arm.clone(),
        finished: finished.len(),
        broken: Vec::new(),
        diverged: finished.iter().filter_map(|run| Some((run.seed, run.diverged.clone()?))).collect(),
        pairs: table.pairs(&arm.name),
        pilot: if other { warnings::pilot(table, arm) } else { None },
        headline,
        corrected_p: None,
        verdict: None,
        gain_headline: ratios.headline(&resamples, confidence)?,
        gain_per_task: if other { ratios.interval(0, confidence) } else { None },
        gain_per_metric: if other { ratios.interval(1, confidence) } else { None },
        gains: ratios.gains(),
        left_out: ratios.left_out(),
        mean_rank: None,
        negative_share: negative,
        tests: if differences.len() > 1 { vec![paired_t(&differences)?, wilcoxon(&differences)?] } else { Vec::new() },
        effect: if differences.len() > 1 { Some(cohens_dz(&differences)?) } else { None },
        parameters,
        trainable: first.map_or(0, |run| run.trainable),
        single_task_parameters: single,
        stored_bytes: first.map_or(0, |run| run.stored_bytes),
        parameter_reduction: parameter_reduction(parameters, single),
        seconds: over(|run| run.seconds),
        cpu_seconds: over(|run| run.cpu_seconds),
        tuning_cpu_seconds: 0.,
        tokens_per_second: over(|run| run.tokens_per_second),
        latency_ms: mean(runs.iter().filter_map(|run| run.latency_ms)),
        loss_volatility: restless(&losses),
        weight_volatility: restless(&weights),
        divergences: losses.iter().map(|losses| divergences(losses, WINDOW, DIVERGED)).sum(),
        outcomes,
        weights: weight_curves(&runs, table),
        cosines: cosines(&runs, table),
        tasks,
    })
}

/// Corrects each task's p over the arm's tasks; the share that is surely hurt, if there is anything to compare.
fn corrected(table: &Table, tasks: &mut [ArmTask]) -> Result<Option<f64>> {
    let named = table.question.tasks.iter().zip(tasks.iter());
    let gains = named.filter_map(|(name, task)| Some((name.clone(), task.transfer.clone()?))).collect();
    let transfers = Transfer::of(gains)?;
    let compared = tasks.iter_mut().filter(|task| task.transfer.is_some());
    compared.zip(&transfers).for_each(|(task, transfer)| task.corrected_p = Some(transfer.corrected_p));
    Ok((!transfers.is_empty()).then(|| negative_share(&transfers, table.question.level)))
}

/// For every seed that both have, arm − baseline of the headline scores, mean over the tasks both judge; 0 where no more
/// than the noise of summation is left of the scores.
fn differences(table: &Table, arm: &ArmSpec) -> Vec<f64> {
    let baseline = &table.question.baseline;
    let of_seed = |seed: &u64| {
        let (own, other) = (table.run(&arm.name, *seed)?, table.run(baseline, *seed)?);
        let of_task = |task: &String| Some([score(own.tasks.get(task)?)?, score(other.tasks.get(task)?)?]);
        let scores: Vec<[f64; 2]> = table.question.tasks.iter().filter_map(of_task).collect();
        let largest = scores.iter().flatten().fold(0., |largest: f64, score| largest.max(score.abs()));
        Some(settled(mean(scores.iter().map(|[own, other]| own - other))?, largest))
    };
    table.question.seeds.iter().filter_map(of_seed).collect()
}

/// The values of one curve of every run and task that has it.
fn curves(runs: &[&RunRecord], table: &Table, curve: fn(&super::TaskRecord) -> &Curve) -> Vec<Vec<f64>> {
    let tasks = &table.question.tasks;
    let found = runs.iter().flat_map(|run| tasks.iter().filter_map(|task| run.tasks.get(task)));
    found.map(|record| values(curve(record))).filter(|values| !values.is_empty()).collect()
}

/// The weights over time, a curve a task; empty if the rule has none.
fn weight_curves(runs: &[&RunRecord], table: &Table) -> Vec<Curve> {
    let of = |task: &String| {
        thinned(mean_curve(runs.iter().filter_map(|run| run.tasks.get(task)).map(|record| &record.weight_curve)))
    };
    let found: Vec<Curve> = table.question.tasks.iter().map(of).collect();
    if found.iter().all(|curve| curve.0.is_empty()) { Vec::new() } else { found }
}

/// Mean cosines over the runs that measured them, rows and columns in the comparison's order of tasks.
fn cosines(runs: &[&RunRecord], table: &Table) -> Vec<Vec<f64>> {
    let tasks = &table.question.tasks;
    let of = |run: &&RunRecord| -> Option<Vec<Vec<f64>>> {
        let at = |task: &String| run.tasks.keys().position(|name| name == task);
        let order: Vec<usize> = tasks.iter().map(at).collect::<Option<_>>()?;
        let row = |&i: &usize| order.iter().map(|&j| run.cosines.get(i)?.get(j).copied()).collect::<Option<Vec<f64>>>();
        order.iter().map(row).collect()
    };
    let measured: Vec<Vec<Vec<f64>>> = runs.iter().filter_map(of).collect();
    if measured.is_empty() {
        return Vec::new();
    }
    let entry = |i: usize, j: usize| mean(measured.iter().map(|matrix| matrix[i][j])).unwrap_or(0.);
    (0..tasks.len()).map(|i| (0..tasks.len()).map(|j| entry(i, j)).collect()).collect()
}
