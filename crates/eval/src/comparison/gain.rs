//! Δm of an arm: gains over the baseline as shares of its scores.
//!
//! A gain is divided by the baseline's mean score over all seeds that it finished, one number for a task and metric, so
//! that no seed's Δm hangs on that seed's denominator. A metric of a task whose baseline has no ratio that means
//! anything ([`has_ratio`]) is left out in every seed and every arm alike, and named with the difference instead; a task
//! without any metric left is left out of Δm, and an arm without any task has none.

use anyhow::Result;

use super::table::{Table, judged, mean};
use super::{ArmSpec, LeftOut};
use crate::stats::{Interval, Resamples, settled};
use crate::transfer::{Gain, has_ratio, spread};

/// One metric of one task: what the arm gains over the baseline.
struct Ratio<'a> {
    task: &'a str,
    metric: &'a str,
    /// Whether the task is judged by it.
    headline: bool,
    /// The baseline's mean score over all its seeds.
    baseline: f64,
    /// What is gained in each pair of seeds, in the metric's own unit; positive is better.
    differences: Vec<f64>,
    /// Whether gains may be given as ratios.
    meaningful: bool,
}

impl Ratio<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.task, self.metric)
    }

    /// The gain of a pair of seeds in percent.
    fn percent(&self, pair: usize) -> f64 {
        100. * self.differences.get(pair).copied().unwrap_or(0.) / self.baseline.abs()
    }
}

/// Every metric of every task that the arm is judged on.
pub(super) struct Ratios<'a> {
    all: Vec<Ratio<'a>>,
    /// Pairs of seeds.
    pairs: usize,
    /// Whether the arm is the baseline itself.
    is_baseline: bool,
}

impl<'a> Ratios<'a> {
    pub(super) fn new(table: &Table<'a>, arm: &ArmSpec) -> Self {
        let baseline = &table.question.baseline;
        let pairs = table.pairs(&arm.name);
        let mut all = Vec::new();
        for task in table.judged_tasks(&arm.name) {
            let of = |seed: u64, arm: &str| table.run(arm, seed).and_then(|run| run.tasks.get(task)).map(judged);
            let Some(first) = table.of(baseline, task).into_iter().flatten().next() else { continue };
            for metric in judged(first).keys() {
                let Ok(found) = table.metrics.find(metric) else { continue };
                let sign = if found.higher_is_better() { 1. } else { -1. };
                let scores = table.question.seeds.iter().filter_map(|seed| of(*seed, baseline)?.get(metric).copied());
                let scores: Vec<f64> = scores.collect();
                let difference = |seed: &u64| {
                    let (own, other) = (*of(*seed, &arm.name)?.get(metric)?, *of(*seed, baseline)?.get(metric)?);
                    Some(settled(sign * (own - other), own.abs().max(other.abs())))
                };
                let differences: Option<Vec<f64>> = pairs.iter().map(difference).collect();
                // A metric that some run lacks is no metric of the comparison.
                let Some(differences) = differences else { continue };
                all.push(Ratio {
                    task,
                    metric,
                    headline: *metric == first.headline,
                    baseline: mean(scores.iter().copied()).unwrap_or(0.),
                    meaningful: has_ratio(&scores) && differences.iter().all(|difference| difference.is_finite()),
                    differences,
                });
            }
        }
        Self { all, pairs: pairs.len(), is_baseline: arm.name == *baseline }
    }

    fn meaningful(&self) -> impl Iterator<Item = &Ratio<'a>> {
        self.all.iter().filter(|ratio| ratio.meaningful)
    }

    /// The mean of `percent` over each task's metrics and then over tasks, or over all metrics alike; beside it how many
    /// tasks or metrics that are.
    fn averaged(&self, convention: usize, percent: impl Fn(&Ratio) -> f64) -> Option<(f64, usize)> {
        if convention == 1 {
            let all: Vec<f64> = self.meaningful().map(percent).collect();
            return Some((mean(all.iter().copied())?, all.len()));
        }
        let mut tasks: Vec<&str> = self.meaningful().map(|ratio| ratio.task).collect();
        tasks.dedup();
        let of = |task: &&str| mean(self.meaningful().filter(|ratio| ratio.task == *task).map(&percent));
        Some((mean(tasks.iter().filter_map(of))?, tasks.len()))
    }

    /// Δm of every pair of seeds, per task (0) or per metric (1), and Student's interval of their mean; none for fewer
    /// than two.
    pub(super) fn interval(&self, convention: usize, confidence: f64) -> Option<Interval> {
        let of = |pair: usize| Some(self.averaged(convention, |ratio| ratio.percent(pair))?.0);
        let gains: Vec<f64> = (0..self.pairs).map(of).collect::<Option<_>>()?;
        let count = gains.len();
        let error = spread(&gains) / (count as f64).sqrt();
        (count > 1)
            .then(|| Interval::student(mean(gains).unwrap_or(0.), error, count as f64 - 1., confidence, count, count))
    }

    /// Δm of the mean scores over the pairs: per task first, then over all metrics alike.
    pub(super) fn gains(&self) -> [Gain; 2] {
        let undefined: Vec<String> = self.all.iter().filter(|ratio| !ratio.meaningful).map(Ratio::name).collect();
        let of_mean = |ratio: &Ratio| mean((0..self.pairs).map(|pair| ratio.percent(pair))).unwrap_or(0.);
        [0, 1].map(|convention| {
            let found = self.averaged(convention, of_mean).filter(|_| self.pairs > 0);
            let (percent, over) = (found.map(|(percent, _)| percent), found.map_or(0, |(_, over)| over));
            Gain { percent, over, undefined: undefined.clone() }
        })
    }

    /// Δm of the headline metrics by the resamples of the tasks' differences; none if no task has a ratio.
    pub(super) fn headline(&self, resamples: &[(&str, Resamples)], confidence: f64) -> Result<Option<Interval>> {
        let mut parts: Vec<(f64, &Resamples)> = Vec::new();
        for (task, found) in resamples {
            let ratio = self.meaningful().find(|ratio| ratio.headline && ratio.task == *task);
            parts.extend(ratio.map(|ratio| (100. / ratio.baseline.abs(), found)));
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let tasks = parts.len() as f64;
        parts.iter_mut().for_each(|(scale, _)| *scale /= tasks);
        Ok(Some(Resamples::weighted(&parts)?.interval(confidence)?))
    }

    /// What Δm leaves out, with the differences instead.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let of = |ratio: &Ratio| LeftOut {
            name: ratio.name(),
            baseline: ratio.baseline,
            difference: mean(ratio.differences.iter().copied()).unwrap_or(0.),
        };
        self.all.iter().filter(|ratio| !ratio.meaningful && !self.is_baseline).map(of).collect()
    }
}
