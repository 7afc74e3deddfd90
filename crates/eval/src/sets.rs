//! Scores of label sets: micro and macro F1 over labels, exact matches, mean average precision.
//!
//! Average precision of a label is Σₙ (Rₙ − Rₙ₋₁)·Pₙ over the distinct scores from high to low, without interpolation;
//! labels that hold for no example are left out of the mean, for they have no precision to speak of.

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::f1::Counts;
use crate::judged::{pairs, sets, share};

/// F1 of all labels' decisions together.
pub(crate) struct SetF1;

impl Metric for SetF1 {
    fn name(&self) -> &'static str {
        "set-f1"
    }

    fn about(&self) -> &'static str {
        "micro F1 over labels and examples"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Set(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        by_label(answers, truth).iter().fold(Counts::default(), |sum, label| sum.plus(label)).f1()
    }
}

/// The mean of the labels' F1, over all labels.
pub(crate) struct SetMacroF1;

impl Metric for SetMacroF1 {
    fn name(&self) -> &'static str {
        "set-macro-f1"
    }

    fn about(&self) -> &'static str {
        "mean of the labels' F1"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Set(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let labels = by_label(answers, truth);
        share(labels.iter().map(Counts::f1).sum(), labels.len() as f64)
    }
}

/// The mean over labels of average precision.
pub(crate) struct SetMeanAveragePrecision;

impl Metric for SetMeanAveragePrecision {
    fn name(&self) -> &'static str {
        "set-map"
    }

    fn about(&self) -> &'static str {
        "mean over labels of the average precision of their scores"
    }

    fn reads_scores(&self) -> bool {
        true
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Set(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let rows = pairs(answers, truth, |answer, truth| match truth {
            Label::Set(truth) => Some((answer.scores.as_slice(), truth.as_slice())),
            _ => None,
        });
        let labels = rows.iter().map(|(_, truth)| truth.len()).max().unwrap_or(0);
        let precisions: Vec<f64> = (0..labels)
            .filter_map(|label| {
                average_precision(
                    rows.iter()
                        .map(|(scores, truth)| {
                            let score = scores.get(label).map_or(f64::NEG_INFINITY, |&score| f64::from(score));
                            (score, truth.get(label).is_some_and(|&holds| holds))
                        })
                        .collect(),
                )
            })
            .collect();
        share(precisions.iter().sum(), precisions.len() as f64)
    }
}

/// Exact matches over examples.
pub(crate) struct SubsetAccuracy;

impl Metric for SubsetAccuracy {
    fn name(&self) -> &'static str {
        "subset-accuracy"
    }

    fn about(&self) -> &'static str {
        "share of examples whose whole set is right"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Set(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let pairs = sets(answers, truth);
        share(pairs.iter().filter(|(answer, truth)| answer == truth).count() as f64, pairs.len() as f64)
    }
}

/// The average precision of ranking by score, or `None` if nothing holds.
fn average_precision(mut ranked: Vec<(f64, bool)>) -> Option<f64> {
    let positives = ranked.iter().filter(|(_, holds)| *holds).count() as f64;
    if positives == 0. {
        return None;
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut hits, mut sum) = (0., 0., 0.);
    // Equal scores are one threshold: they are let in together.
    for group in ranked.chunk_by(|a, b| a.0 == b.0) {
        let gained = group.iter().filter(|(_, holds)| *holds).count() as f64;
        seen += group.len() as f64;
        hits += gained;
        sum += gained / positives * (hits / seen);
    }
    Some(sum)
}

fn by_label(answers: &[Answer], truth: &[Label]) -> Vec<Counts> {
    let pairs = sets(answers, truth);
    let mut counts = vec![Counts::default(); pairs.iter().map(|(_, truth)| truth.len()).max().unwrap_or(0)];
    for (answer, truth) in pairs {
        for (label, &holds) in truth.iter().enumerate() {
            counts[label].count(answer.get(label).is_some_and(|&answered| answered), holds);
        }
    }
    counts
}
