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
//! The same holds of a mean over tasks ([`Resamples::weighted`]): V_S is the variance of the seeds' means over tasks,
//! whatever the tasks of a seed have in common, and V_E and V_SE come from resamples that are averaged over tasks.
//! It does not matter what a seed varies, initialisation or training examples as well: both make d_s vary, and seeds are
//! independent. An interval over seeds alone (V_S) says nothing of other examples: where arms differ by example it
//! finds a difference in up to three quarters of comparisons without one, the more often the more seeds there are.
//!
//! Efron and Tibshirani, "An introduction to the bootstrap" (1993); Owen, "The pigeonhole bootstrap" (2007) for
//! crossed factors; Satterthwaite 1946 for the degrees of freedom.

mod resamples;

use anyhow::{Result, ensure};
use mtl_task::rng::Key;
use mtl_task::{Answer, Label};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Interval, settled};
use crate::{Judged, Metric};
pub use resamples::Resamples;

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
    Resamples::of(examples, key, settings, 0., per_seed)?.interval(settings.confidence)
}

/// How much better the first arm is by `metric`, averaged over seeds: positive is better, whichever way the metric
/// points.
///
/// # Errors
/// As [`paired_bootstrap`], or if the arms do not have the same seeds and examples.
pub fn paired_metric(metric: &dyn Metric, arms: Arms, key: Key, settings: &Bootstrap) -> Result<Interval> {
    paired_resamples(metric, arms, key, settings)?.interval(settings.confidence)
}

/// What [`paired_metric`] makes its interval of, to be averaged with those of other tasks.
///
/// # Errors
/// As [`paired_metric`].
pub fn paired_resamples(metric: &dyn Metric, arms: Arms, key: Key, settings: &Bootstrap) -> Result<Resamples> {
    let Arms { first, second, truth, names } = arms;
    ensure!(first.len() == second.len(), "{} seeds are compared with {}", first.len(), second.len());
    for (seed, answers) in first.iter().chain(second).enumerate() {
        let (seed, given, asked) = (seed % first.len(), answers.len(), truth.len());
        ensure!(given == asked, "seed {seed} has {given} answers to {asked} examples");
    }
    let sign = if metric.higher_is_better() { 1. } else { -1. };
    let first: Vec<Vec<Answer>> = first.iter().map(|answers| bare(metric, answers)).collect();
    let second: Vec<Vec<Answer>> = second.iter().map(|answers| bare(metric, answers)).collect();
    let whole = first.iter().chain(&second).map(|answers| metric.score(answers, truth, names).abs());
    let size = whole.fold(0., f64::max);
    if let Some(rows) = by_example(metric, sign, &first, &second, truth) {
        return Resamples::of(truth.len(), key, settings, size, |examples| {
            let mut sums = vec![0.; first.len()];
            for &example in examples {
                sums.iter_mut().zip(&rows[example]).for_each(|(sum, difference)| *sum += difference);
            }
            sums.iter().map(|sum| settled(sum / examples.len() as f64, size)).collect()
        });
    }
    Resamples::of(truth.len(), key, settings, size, |examples| {
        let truth = pick(truth, examples);
        let score = |answers: &[Answer]| metric.score(&pick(answers, examples), &truth, names);
        let gain = |(first, second): (&Vec<Answer>, &Vec<Answer>)| {
            let (first, second) = (score(first), score(second));
            settled(sign * (first - second), first.abs().max(second.abs()))
        };
        first.iter().zip(&second).map(gain).collect()
    })
}

/// Each seed's difference on each example, `[examples][seeds]`, if the metric is a mean of such.
fn by_example(
    metric: &dyn Metric,
    sign: f64,
    first: &[Vec<Answer>],
    second: &[Vec<Answer>],
    truth: &[Label],
) -> Option<Vec<Vec<f64>>> {
    let of = |arm: &[Answer], example: usize| metric.of_example(arm.get(example)?, truth.get(example)?);
    let row = |example: usize| {
        let seeds = first.iter().zip(second);
        seeds.map(|(first, second)| Some(sign * (of(first, example)? - of(second, example)?))).collect()
    };
    (0..truth.len()).map(row).collect()
}

/// The percentile interval of one score over resampled examples, `[low, high]`: what else this test set could have
/// said of the same model.
///
/// # Errors
/// If there are not as many answers as truths, none at all, no resample, or a `confidence` outside (0, 1).
pub fn metric_interval(metric: &dyn Metric, judged: Judged, key: Key, settings: &Bootstrap) -> Result<[f64; 2]> {
    let Judged { answers, truth, names } = judged;
    ensure!(answers.len() == truth.len(), "{} answers for {} truths", answers.len(), truth.len());
    ensure!(!truth.is_empty() && settings.resamples > 0, "an interval needs examples and resamples");
    let confidence = settings.confidence;
    ensure!(confidence > 0. && confidence < 1., "`confidence` must lie between 0 and 1, found {confidence}");
    let answers = bare(metric, answers);
    let score = |examples: &[usize]| vec![metric.score(&pick(&answers, examples), &pick(truth, examples), names)];
    let mut scores: Vec<f64> = resampled(truth.len(), key, settings.resamples, &score).into_iter().flatten().collect();
    scores.sort_by(f64::total_cmp);
    let at = |share: f64| scores[((scores.len() - 1) as f64 * share).round() as usize];
    let outside = (1. - confidence) / 2.;
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

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLES: usize = 60;

    fn settings() -> Bootstrap {
        Bootstrap { resamples: 100, ..Bootstrap::default() }
    }

    /// Answers of `seeds` runs that are right with probability `skill`, to truths that are all class 1.
    fn runs(seeds: u64, skill: f64) -> Vec<Vec<Answer>> {
        let run = |seed: u64| {
            let mut stream = Key::new(9).with(seed).stream();
            (0..EXAMPLES).map(move |_| u32::from(stream.uniform() < skill))
        };
        let answer = |class| Answer { label: Label::Class(class), scores: vec![0.5] };
        (0..seeds).map(|seed| run(seed).map(answer).collect()).collect()
    }

    fn compare(metric: &str, first: &[Vec<Answer>], second: &[Vec<Answer>]) -> Result<Interval> {
        let arms = Arms { first, second, truth: &[const { Label::Class(1) }; EXAMPLES], names: &[] };
        paired_metric(*crate::Metrics::default().find(metric).expect("known"), arms, Key::new(1), &settings())
    }

    #[test]
    fn a_real_difference_is_found_and_its_sign_says_who_is_better() {
        let (good, poor) = (runs(5, 0.95), runs(5, 0.55));
        let gain = compare("accuracy", &good, &poor).expect("compared");
        assert!(gain.low > 0.2 && gain.p < 1e-3 && gain.excludes_zero(), "{gain:?}");
        let loss = compare("accuracy", &poor, &good).expect("compared");
        assert_eq!((loss.estimate, loss.low, loss.high), (-gain.estimate, -gain.high, -gain.low));
        // Confidence is 0.5 throughout, so the poor arm is the better calibrated one, and less error is better.
        assert!(compare("ece", &poor, &good).expect("compared").estimate > 0.);
        let same = compare("accuracy", &good, &good).expect("compared");
        assert_eq!((same.estimate, same.standard_error, same.p), (0., 0., 1.));
    }

    /// As the same answers are judged by a metric that no example has a score of its own in.
    #[test]
    fn a_mean_over_examples_is_resampled_as_any_metric_is() {
        struct Slow;
        impl Metric for Slow {
            fn name(&self) -> &'static str {
                "slow"
            }
            fn about(&self) -> &'static str {
                "accuracy"
            }
            fn judges(&self, _truth: &Label) -> bool {
                true
            }
            fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
                answers.iter().zip(truth).filter(|(answer, truth)| answer.label == **truth).count() as f64
                    / truth.len() as f64
            }
        }
        let (good, poor) = (runs(5, 0.95), runs(5, 0.75));
        let arms = Arms { first: &good, second: &poor, truth: &[const { Label::Class(1) }; EXAMPLES], names: &[] };
        let slow = paired_metric(&Slow, arms, Key::new(1), &settings()).expect("compared");
        let fast = compare("accuracy", &good, &poor).expect("compared");
        for (slow, fast) in [(slow.estimate, fast.estimate), (slow.low, fast.low), (slow.p, fast.p)] {
            assert!((slow - fast).abs() < 1e-12, "{slow} {fast}");
        }
    }

    /// Two tasks with the same differences: of other examples their mean is as sure as √2 times the seeds would be, of the
    /// same examples it is no surer than either.
    #[test]
    fn tasks_on_the_same_examples_are_no_more_evidence_than_one() {
        let effects = |task: u64| -> Vec<f64> {
            let mut stream = Key::new(8).with(task).stream();
            (0..40).map(|_| stream.normal()).collect()
        };
        let of = |task: u64, key: u64| {
            let effects = effects(task);
            let mean = move |examples: &[usize]| {
                let mean = examples.iter().map(|&example| effects[example]).sum::<f64>() / examples.len() as f64;
                vec![mean; 5]
            };
            Resamples::of(40, Key::new(key), &settings(), 0., mean).expect("resampled")
        };
        let error = |parts: [&Resamples; 2]| {
            let mean = Resamples::weighted(&parts.map(|part| (0.5, part))).expect("averaged");
            mean.interval(0.95).expect("an interval").standard_error
        };
        let (one, same, other) = (of(1, 1), of(1, 1), of(1, 2));
        let alone = one.interval(0.95).expect("an interval").standard_error;
        assert!((error([&one, &same]) / alone - 1.).abs() < 1e-12);
        let ratio = error([&one, &other]) / alone;
        assert!((0.6..0.8).contains(&ratio), "{ratio}");
        let lone = Resamples::of(40, Key::new(1), &settings(), 0., |_: &[usize]| vec![0.5; 3]).expect("resampled");
        assert!(Resamples::weighted(&[(1., &one), (1., &lone)]).is_err() && Resamples::weighted(&[]).is_err());
    }

    #[test]
    fn p_is_below_the_level_just_where_the_interval_excludes_zero() {
        let mut both = [0, 0];
        for seed in 0..60 {
            let mut stream = Key::new(5).with(seed).stream();
            let table: Vec<Vec<f64>> = (0..3).map(|_| (0..20).map(|_| stream.normal() + 0.6).collect()).collect();
            let means = |examples: &[usize]| -> Vec<f64> {
                table.iter().map(|row| examples.iter().map(|&e| row[e]).sum::<f64>() / 20.).collect()
            };
            let found = paired_bootstrap(20, Key::new(seed), &settings(), means).expect("compared");
            assert_eq!(found.p < 0.05, found.excludes_zero(), "{found:?}");
            both[usize::from(found.excludes_zero())] += 1;
        }
        assert!(both[0] > 5 && both[1] > 5, "{both:?}");
    }

    #[test]
    fn huge_and_denormal_differences_have_the_interval_of_others() {
        let table: Vec<Vec<f64>> =
            (1..4).map(|seed| (0..20).map(|e| f64::from((seed * 7 + e * 5) % 11 - 3)).collect()).collect();
        let at = |unit: f64| {
            let means = |examples: &[usize]| -> Vec<f64> {
                table.iter().map(|row| examples.iter().map(|&e| row[e] / 20.).sum::<f64>() * unit).collect()
            };
            paired_bootstrap(20, Key::new(3), &settings(), means).expect("compared")
        };
        let plain = at(1.);
        for unit in [1e305, 1e-305, 1e150, 1e-150] {
            let found = at(unit);
            let close = |found: f64, expected: f64| (found / unit - expected).abs() < 1e-6;
            assert!(
                close(found.estimate, plain.estimate) && close(found.standard_error, plain.standard_error),
                "{found:?}"
            );
            assert!(close(found.low, plain.low) && (found.p - plain.p).abs() < 1e-6, "{found:?} {plain:?}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (good, poor) = (runs(3, 0.9), runs(3, 0.8));
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| compare("macro-f1", &good, &poor).expect("compared"))
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_a_reason() {
        let two = runs(2, 0.5);
        let error = |found: Result<Interval>| found.expect_err("refused").to_string();
        assert!(error(compare("accuracy", &two, &two[..1])).contains("2 seeds are compared with 1"));
        assert!(error(compare("accuracy", &[], &[])).contains("at least one seed"));
        let short = vec![two[0].clone(), two[1][..9].to_vec()];
        assert!(error(compare("accuracy", &two, &short)).contains("seed 1 has 9 answers to 60 examples"));
        let bootstrap = |examples, settings, value| {
            error(paired_bootstrap(examples, Key::new(0), &settings, |_: &[usize]| vec![value]))
        };
        assert!(bootstrap(1, settings(), 0.).contains("two examples"));
        assert!(bootstrap(5, Bootstrap { confidence: 95., ..settings() }, 0.).contains("between 0 and 1, found 95"));
        assert!(bootstrap(5, Bootstrap { resamples: 0, ..settings() }, 0.).contains("two resamples"));
        assert!(bootstrap(5, settings(), f64::NAN).contains("not finite"));
    }

    /// A binomial share has standard deviation √(p·(1 − p) / n).
    #[test]
    fn a_score_has_the_interval_of_its_sample_size() {
        let answers = runs(1, 0.8).remove(0);
        let truth = vec![Label::Class(1); EXAMPLES];
        let judged = Judged { answers: &answers, truth: &truth, names: &[] };
        let metric = *crate::Metrics::default().find("accuracy").expect("known");
        let score = metric.score(&answers, &truth, &[]);
        let [low, high] = metric_interval(metric, judged, Key::new(2), &Bootstrap::default()).expect("an interval");
        let half = 1.96 * (score * (1. - score) / EXAMPLES as f64).sqrt();
        assert!((score - half - low).abs() < 0.03 && (score + half - high).abs() < 0.03, "{low} {score} {high}");
        let empty = Judged { answers: &[], truth: &[], names: &[] };
        assert!(metric_interval(metric, empty, Key::new(2), &settings()).is_err());
    }
}
