//! One arm over all its tasks: gains, tests over seeds, cost and stability.

use std::collections::BTreeMap;

use anyhow::Result;

use super::curves::{mean_curve, thinned, values};
use super::table::{Table, judged, mean, score};
use super::{ArmResult, ArmSpec, ArmTask, Curve, RunRecord, task};
use crate::Metrics;
use crate::stats::{Interval, cohens_dz, paired_t, settled, wilcoxon};
use crate::transfer::{
    Compared, Gain, Transfer, divergences, gain_over_metrics, gain_over_tasks, negative_share, parameter_reduction,
    spread, volatility,
};

/// A loss has run away if its mean over so many steps is `DIVERGED` times the lowest such mean before.
const WINDOW: usize = 20;
const DIVERGED: f64 = 3.;

/// What the runs of `arm` say together; its rank is set where all arms are known.
pub(super) fn result(table: &Table, arm: &ArmSpec) -> Result<ArmResult> {
    let runs: Vec<&RunRecord> = table.runs(&arm.name).collect();
    let mut tasks: Vec<ArmTask> =
        table.question.tasks.iter().map(|name| task::result(table, arm, name)).collect::<Result<_>>()?;
    let negative = corrected(table, &mut tasks)?;
    let other = arm.name != table.question.baseline;
    let differences = if other { differences(table, arm) } else { Vec::new() };
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
        finished: runs.len(),
        broken: Vec::new(),
        gain_per_task: if other { seed_gain(table, arm, gain_over_tasks) } else { None },
        gain_per_metric: if other { seed_gain(table, arm, gain_over_metrics) } else { None },
        gains: mean_gains(table, arm),
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

/// Δm of every seed pair, and Student's interval of their mean; none for fewer than two.
fn seed_gain(table: &Table, arm: &ArmSpec, gain: fn(&[Compared]) -> Gain) -> Option<Interval> {
    let of_seed = |seed: &u64| {
        let own = metrics_of(&[table.run(&arm.name, *seed)?], table);
        gain(&compared(table.metrics, &own, &metrics_of(&[table.run(&table.question.baseline, *seed)?], table))).percent
    };
    let gains: Vec<f64> = table.question.seeds.iter().filter_map(of_seed).collect();
    let (count, confidence) = (gains.len(), 1. - table.question.level);
    let error = spread(&gains) / (count as f64).sqrt();
    (count > 1)
        .then(|| Interval::student(mean(gains).unwrap_or(0.), error, count as f64 - 1., confidence, count, count))
}

/// Δm of the mean scores over the seeds that both have: per task first, then over all metrics alike.
fn mean_gains(table: &Table, arm: &ArmSpec) -> [Gain; 2] {
    let both =
        |seed: &&u64| table.run(&arm.name, **seed).is_some() && table.run(&table.question.baseline, **seed).is_some();
    let seeds: Vec<u64> = table.question.seeds.iter().filter(both).copied().collect();
    let of = |arm: &str| metrics_of(&seeds.iter().filter_map(|seed| table.run(arm, *seed)).collect::<Vec<_>>(), table);
    let pairs = compared(table.metrics, &of(&arm.name), &of(&table.question.baseline));
    [gain_over_tasks(&pairs), gain_over_metrics(&pairs)]
}

/// Each (task, metric) and its mean over `runs`, in the comparison's order of tasks.
fn metrics_of(runs: &[&RunRecord], table: &Table) -> Vec<(String, String, f64)> {
    let mut found = Vec::new();
    for task in &table.question.tasks {
        let mut sums: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in runs.iter().filter_map(|run| run.tasks.get(task)).flat_map(judged) {
            sums.entry(name).or_default().push(*value);
        }
        let means = sums.into_iter().filter_map(|(name, values)| Some((task.clone(), name.to_string(), mean(values)?)));
        found.extend(means);
    }
    found
}

fn compared(metrics: &Metrics, own: &[(String, String, f64)], baseline: &[(String, String, f64)]) -> Vec<Compared> {
    let pair = |(task, metric, multi): &(String, String, f64)| {
        let (_, _, single) = baseline.iter().find(|(t, m, _)| t == task && m == metric)?;
        let higher_is_better = metrics.find(metric).ok()?.higher_is_better();
        Some(Compared { task: task.clone(), metric: metric.clone(), higher_is_better, multi: *multi, single: *single })
    };
    own.iter().filter_map(pair).collect()
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
