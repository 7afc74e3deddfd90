//! The paired bootstrap over examples × seeds, the primary test of a difference between two arms.
//!
//! Arms are compared on the same examples with the same seeds. d(e) is the difference of scores, averaged over seeds,
//! on a resample e of the examples, d_s(e) that of seed s alone. Both sources of chance enter the standard error:
//!
//! V = V_S + max(V_E − V_SE, 0), with V_S = var_s d_s / S, V_E = var_e d(e) · N / (N − 1), and
//! V_SE = Σ_s var_e (d_s(e) − d(e)) / (S·(S − 1)) · N / (N − 1), their interaction, which V_S and V_E both contain.
//!
//! Scores are averaged over seeds, so the variance of resampling seeds is known in closed form (V_S) and need not be
//! drawn. The interval is d ± t·√V, Student's t having Satterthwaite's degrees of freedom: with five seeds a plain
//! percentile interval over seeds would cover far less than it says, because five draws show too little of the spread.
//!
//! Efron and Tibshirani, "An introduction to the bootstrap" (1993); Owen, "The pigeonhole bootstrap" (2007) for
//! crossed factors; Satterthwaite 1946 for the degrees of freedom.

use anyhow::{Result, ensure};
use mtl_task::rng::Key;
use mtl_task::{Answer, Label};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Interval, mean, variance};
use crate::{Judged, Metric};

/// How to resample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Resamples of the examples.
    pub resamples: usize,
    /// Coverage of intervals, in (0, 1).
    pub confidence: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 2000, confidence: 0.95 }
    }
}

/// The answers of two arms to the same examples: one list per seed, seeds in the same order.
#[derive(Clone, Copy, Debug)]
pub struct Arms<'a> {
    /// The arm that a positive difference favours.
    pub first: &'a [Vec<Answer>],
    /// The arm it is compared with.
    pub second: &'a [Vec<Answer>],
    /// The truths.
    pub truth: &'a [Label],
    /// Class, label or tag names.
    pub names: &'a [String],
}

/// The mean over seeds of `per_seed`, which gives each seed's statistic on a resample of the examples, named by index
/// with repetitions.
///
/// # Errors
/// If there are fewer than two examples, no seed, no resample, a `confidence` outside (0, 1), or a statistic that is
/// not finite.
pub fn paired_bootstrap(
    examples: usize,
    key: Key,
    settings: &Bootstrap,
    per_seed: impl Fn(&[usize]) -> Vec<f64> + Sync,
) -> Result<Interval> {
    ensure!(examples >= 2, "a bootstrap needs at least two examples, found {examples}");
    ensure!(settings.resamples >= 2, "a bootstrap needs at least two resamples, found {}", settings.resamples);
    let confidence = settings.confidence;
    ensure!(confidence > 0. && confidence < 1., "`confidence` must lie between 0 and 1, found {confidence}");
    let whole = per_seed(&(0..examples).collect::<Vec<_>>());
    let seeds = whole.len();
    ensure!(seeds > 0, "a bootstrap needs at least one seed");
    let drawn = resampled(examples, key, settings.resamples, &per_seed);
    ensure!(whole.iter().chain(drawn.iter().flatten()).all(|d| d.is_finite()), "a resampled score is not finite");

    let estimate = mean(&whole);
    let seed_count = seeds as f64;
    let of_seeds = variance(&whole) / seed_count;
    let means: Vec<f64> = drawn.iter().map(|row| mean(row)).collect();
    // A resample of N examples varies by (N − 1) / N of what a fresh draw does.
    let fresh = examples as f64 / (examples as f64 - 1.);
    let of_examples = variance(&means) * fresh;
    let of_both = (0..seeds)
        .map(|seed| variance(&drawn.iter().zip(&means).map(|(row, mean)| row[seed] - mean).collect::<Vec<_>>()))
        .sum::<f64>()
        * fresh
        / (seed_count * (seed_count - 1.).max(1.));
    let total = of_seeds + (of_examples - of_both).max(0.);
    let standard_error = total.sqrt();
    let spent = of_seeds.powi(2) / (seed_count - 1.).max(1.) + of_examples.powi(2) / (examples as f64 - 1.);
    let degrees = if spent > 0. { total * total / spent } else { examples as f64 - 1. };
    Ok(Interval::student(estimate, standard_error, degrees, confidence, examples, seeds))
}

/// How much better the first arm is by `metric`, averaged over seeds: positive is better, whichever way the metric
/// points.
///
/// # Errors
/// As [`paired_bootstrap`], or if the arms do not have the same seeds and examples.
pub fn paired_metric(metric: &dyn Metric, arms: Arms, key: Key, settings: &Bootstrap) -> Result<Interval> {
    let Arms { first, second, truth, names } = arms;
    ensure!(first.len() == second.len(), "{} seeds are compared with {}", first.len(), second.len());
    for (seed, answers) in first.iter().chain(second).enumerate() {
        let (seed, given, asked) = (seed % first.len(), answers.len(), truth.len());
        ensure!(given == asked, "seed {seed} has {given} answers to {asked} examples");
    }
    let sign = if metric.higher_is_better() { 1. } else { -1. };
    let first: Vec<Vec<Answer>> = first.iter().map(|answers| bare(metric, answers)).collect();
    let second: Vec<Vec<Answer>> = second.iter().map(|answers| bare(metric, answers)).collect();
    paired_bootstrap(truth.len(), key, settings, |examples| {
        let truth = pick(truth, examples);
        let score = |answers: &[Answer]| metric.score(&pick(answers, examples), &truth, names);
        first.iter().zip(&second).map(|(first, second)| sign * (score(first) - score(second))).collect()
    })
}

/// The percentile interval of one score over resampled examples, `[low, high]`: what else this test set could have
/// said of the same model.
///
/// # Errors
/// If there are not as many answers as truths, none at all, or no resample.
pub fn metric_interval(metric: &dyn Metric, judged: Judged, key: Key, settings: &Bootstrap) -> Result<[f64; 2]> {
    let Judged { answers, truth, names } = judged;
    ensure!(answers.len() == truth.len(), "{} answers for {} truths", answers.len(), truth.len());
    ensure!(!truth.is_empty() && settings.resamples > 0, "an interval needs examples and resamples");
    let answers = bare(metric, answers);
    let score = |examples: &[usize]| vec![metric.score(&pick(&answers, examples), &pick(truth, examples), names)];
    let mut scores: Vec<f64> = resampled(truth.len(), key, settings.resamples, &score).into_iter().flatten().collect();
    scores.sort_by(f64::total_cmp);
    let at = |share: f64| scores[((scores.len() - 1) as f64 * share).round() as usize];
    let outside = (1. - settings.confidence.clamp(0., 1.)) / 2.;
    Ok([at(outside), at(1. - outside)])
}

/// `statistic` on each resample. Every resample has its own stream, so the threads' number changes nothing.
fn resampled(
    examples: usize,
    key: Key,
    resamples: usize,
    statistic: &(impl Fn(&[usize]) -> Vec<f64> + Sync),
) -> Vec<Vec<f64>> {
    (0..resamples as u64)
        .into_par_iter()
        .map(|resample| {
            let mut stream = key.with(resample).stream();
            statistic(&(0..examples).map(|_| stream.below(examples)).collect::<Vec<_>>())
        })
        .collect()
}

/// Answers without the scores, where the metric does not read them: they are most of what resampling would copy.
fn bare(metric: &dyn Metric, answers: &[Answer]) -> Vec<Answer> {
    let scores = |answer: &Answer| if metric.reads_scores() { answer.scores.clone() } else { Vec::new() };
    answers.iter().map(|answer| Answer { label: answer.label.clone(), scores: scores(answer) }).collect()
}

fn pick<T: Clone>(items: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().map(|&index| items[index].clone()).collect()
}
