//! Correlations of real answers with real truths, and of any two samples.
//!
//! Pearson: Σ(x − x̄)(y − ȳ) / √(Σ(x − x̄)² Σ(y − ȳ)²); Spearman: the same of ranks, ties sharing their mean rank.
//! A constant sample, or one that is not finite, correlates with nothing: 0.

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::judged::values;

/// The linear correlation.
pub(crate) struct Pearson;

impl Metric for Pearson {
    fn name(&self) -> &'static str {
        "pearson"
    }

    fn about(&self) -> &'static str {
        "linear correlation; 0 for a constant answer"
    }

    fn range(&self) -> [f64; 2] {
        [-1., 1.]
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Value(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let (answers, truth) = apart(answers, truth);
        pearson(&answers, &truth)
    }
}

/// The correlation of ranks.
pub(crate) struct Spearman;

impl Metric for Spearman {
    fn name(&self) -> &'static str {
        "spearman"
    }

    fn about(&self) -> &'static str {
        "correlation of ranks; 0 for a constant answer"
    }

    fn range(&self) -> [f64; 2] {
        [-1., 1.]
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Value(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let (answers, truth) = apart(answers, truth);
        spearman(&answers, &truth)
    }
}

/// The mean of both.
pub(crate) struct PearsonSpearman;

impl Metric for PearsonSpearman {
    fn name(&self) -> &'static str {
        "pearson-spearman"
    }

    fn about(&self) -> &'static str {
        "mean of Pearson's and Spearman's correlation (GLUE STS-B)"
    }

    fn range(&self) -> [f64; 2] {
        [-1., 1.]
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Value(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let (answers, truth) = apart(answers, truth);
        (pearson(&answers, &truth) + spearman(&answers, &truth)) / 2.
    }
}

/// Pearson's correlation in [−1, 1]; 0 if either sample is constant or not finite, or the lengths differ.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    if x.len() != y.len() || !x.iter().chain(y).all(|value| value.is_finite()) || constant(x) || constant(y) {
        return 0.;
    }
    let (x, y) = (centred(x), centred(y));
    let correlation = dot(&x, &y) / (dot(&x, &x).sqrt() * dot(&y, &y).sqrt());
    if correlation.is_finite() { correlation.clamp(-1., 1.) } else { 0. }
}

/// Spearman's rank correlation in [−1, 1]; 0 if either sample is constant or not finite, or the lengths differ.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    if !x.iter().chain(y).all(|value| value.is_finite()) {
        return 0.;
    }
    pearson(&ranks(x), &ranks(y))
}

/// The rank of each value, counted from 1, the smallest first; equal values share their mean rank.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.; values.len()];
    let mut start = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = start as f64 + (group.len() as f64 + 1.) / 2.;
        group.iter().for_each(|&index| ranks[index] = mean);
        start += group.len();
    }
    ranks
}

/// Answers and truths as numbers. Answers that differ by f32's rounding alone are made one constant: a collapsed model
/// must not score by noise.
fn apart(answers: &[Answer], truth: &[Label]) -> (Vec<f64>, Vec<f64>) {
    let (mut answers, truth) = values(answers, truth);
    let (low, high) = answers.iter().fold((f64::MAX, f64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    if high - low <= 4. * f64::from(f32::EPSILON) * low.abs().max(high.abs()) {
        answers.fill(low);
    }
    (answers, truth)
}

/// Deviations from the mean, scaled to at most 1 so that squares neither overflow nor vanish.
fn centred(values: &[f64]) -> Vec<f64> {
    let scale = values.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    let mean = values.iter().map(|value| value / scale).sum::<f64>() / values.len() as f64;
    let deviations: Vec<f64> = values.iter().map(|value| value / scale - mean).collect();
    let spread = deviations.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    deviations.iter().map(|value| value / spread).collect()
}

fn constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collapsed_model_does_not_score_by_rounding() {
        let truth = [1., 2., 3.].map(Label::Value);
        let answer = |value: f32| Answer { label: Label::Value(value), scores: Vec::new() };
        let collapsed = [0.7, 0.7 + f32::EPSILON / 2., 0.7 + f32::EPSILON].map(answer);
        let learnt = [0.7, 0.7001, 0.7002].map(answer);
        for metric in [&Pearson as &dyn Metric, &Spearman, &PearsonSpearman] {
            assert_eq!(metric.score(&collapsed, &truth, &[]), 0., "{}", metric.name());
            assert!(metric.score(&learnt, &truth, &[]) > 0.999, "{}", metric.name());
        }
    }

    #[test]
    fn scale_does_not_matter_and_what_is_not_finite_correlates_with_nothing() {
        let (x, y) = ([1., 2., 4.], [2., 3., 3.5]);
        let scaled = |factor: f64| x.map(|value| value * factor);
        let plain = pearson(&x, &y);
        for factor in [1e-200, 1e200] {
            assert!((pearson(&scaled(factor), &y) - plain).abs() < 1e-12, "{factor}");
        }
        assert_eq!(pearson(&[1., f64::NAN, 2.], &y), 0.);
        assert_eq!(spearman(&[1., f64::INFINITY, 2.], &y), 0.);
        assert_eq!(pearson(&x, &y[..2]), 0.);
        assert_eq!(ranks(&[3., 1., 3., 2.]), [3.5, 1., 3.5, 2.]);
    }
}
