//! Δm%, the mean relative gain over single-task learning: 100 · mean of ±(m − b) / |b|, with m the multi-task score, b
//! the single-task score, and the sign such that **positive means that multi-task learning is better**.
//!
//! Two conventions are in use, and they differ where tasks have unequally many metrics:
//! * averaged per task first, [`gain_over_tasks`] (Maninis et al., "Attentive single-tasking", CVPR 2019);
//! * averaged over all metrics at once, [`gain_over_metrics`] (the convention of CAGrad's and Nash-MTL's tables, which
//!   print it with the opposite sign: there a drop is positive).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::{deviation, settled};

/// A baseline's score nearer to 0 than this has no ratio that means anything: a Matthews correlation that rises from
/// 0.01 to 0.15 would be a gain of 1,400 %.
pub const SMALLEST_BASELINE: f64 = 0.05;

/// Whether gains over a baseline with these scores, one a seed, may be given as ratios: their mean is at least
/// [`SMALLEST_BASELINE`] from 0, and at least twice their standard deviation over seeds, below which 0 is among the
/// baselines that another draw of seeds would have had.
pub fn has_ratio(baseline: &[f64]) -> bool {
    let mean = baseline.iter().sum::<f64>() / baseline.len().max(1) as f64;
    baseline.iter().all(|score| score.is_finite()) && mean.abs() >= SMALLEST_BASELINE.max(2. * deviation(baseline))
}

/// One metric of one task, learnt together and alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The task.
    pub task: String,
    /// The metric.
    pub metric: String,
    /// Which way it points.
    pub higher_is_better: bool,
    /// Score of the multi-task model.
    pub multi: f64,
    /// Score of the single-task model.
    pub single: f64,
}

/// A Δm and what it was averaged over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Percent; positive means that multi-task learning is better. Null if nothing could be compared.
    pub percent: Option<f64>,
    /// How many tasks, or metrics, were averaged.
    pub over: usize,
    /// `task/metric` left out because its single-task score is 0 (or so close that the ratio means nothing).
    pub undefined: Vec<String>,
}

/// Δm%, averaged over each task's metrics first and over tasks then.
pub fn gain_over_tasks(compared: &[Compared]) -> Gain {
    let mut tasks = BTreeMap::<&str, Vec<f64>>::new();
    let undefined = relative(compared, |pair, gain| tasks.entry(&pair.task).or_default().push(gain));
    let gains: Vec<f64> = tasks.values().map(|gains| gains.iter().sum::<f64>() / gains.len() as f64).collect();
    averaged(&gains, undefined)
}

/// Δm%, averaged over all metrics of all tasks at once.
pub fn gain_over_metrics(compared: &[Compared]) -> Gain {
    let mut gains = Vec::new();
    let undefined = relative(compared, |_, gain| gains.push(gain));
    averaged(&gains, undefined)
}

/// Hands over each relative gain, and returns the names of those that have none.
fn relative<'a>(compared: &'a [Compared], mut take: impl FnMut(&'a Compared, f64)) -> Vec<String> {
    let mut undefined = Vec::new();
    for pair in compared {
        let change = if pair.higher_is_better { pair.multi - pair.single } else { pair.single - pair.multi };
        let change = settled(change, pair.multi.abs().max(pair.single.abs()));
        // A score this small is 0 but for rounding: CoLA's 0.0 for tiny encoders, a constant prediction's Pearson.
        if pair.single.abs() < 1e-9 || !change.is_finite() {
            undefined.push(format!("{}/{}", pair.task, pair.metric));
        } else {
            take(pair, change / pair.single.abs());
        }
    }
    undefined
}

fn averaged(gains: &[f64], undefined: Vec<String>) -> Gain {
    let percent = (!gains.is_empty()).then(|| 100. * gains.iter().sum::<f64>() / gains.len() as f64);
    Gain { percent, over: gains.len(), undefined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(task: &str, metric: &str, higher_is_better: bool, multi: f64, single: f64) -> Compared {
        Compared { task: task.into(), metric: metric.into(), higher_is_better, multi, single }
    }

    #[test]
    fn the_two_conventions_weigh_tasks_with_many_metrics_differently() {
        let table = [
            compared("a", "accuracy", true, 0.88, 0.80),
            compared("b", "mae", false, 1.1, 1.0),
            compared("b", "pearson", true, 0.4, 0.5),
        ];
        // +10 % for a; −10 % and −20 % for b.
        let (tasks, metrics) = (gain_over_tasks(&table), gain_over_metrics(&table));
        assert!((tasks.percent.expect("defined") - -2.5).abs() < 1e-9 && tasks.over == 2);
        assert!((metrics.percent.expect("defined") - -20. / 3.).abs() < 1e-9 && metrics.over == 3);
    }

    #[test]
    fn tiny_and_unsteady_baselines_have_no_ratio() {
        assert!(has_ratio(&[0.5, 0.6, 0.55]) && has_ratio(&[-0.2, -0.25]) && has_ratio(&[0.05]));
        for bad in [&[0.049, 0.049][..], &[0., 0.], &[0.4, 0.01, 0.02], &[0.3, -0.1], &[f64::NAN, 0.5], &[]] {
            assert!(!has_ratio(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_zero_baseline_is_left_out_by_name_and_a_negative_one_keeps_the_sign() {
        let table = [compared("cola", "matthews", true, 0.3, 0.), compared("b", "pearson", true, 0.1, -0.2)];
        let gain = gain_over_tasks(&table);
        assert_eq!((gain.over, gain.undefined), (1, vec!["cola/matthews".to_string()]));
        assert!((gain.percent.expect("defined") - 150.).abs() < 1e-9);
        assert_eq!(gain_over_metrics(&[]).percent, None);
    }
}
