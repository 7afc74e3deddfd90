//! The share of right answers: Σ 1[ŷ = y] / n, per text or per word.

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::judged::{classes, share, tags};

/// Right classes over examples.
pub(crate) struct Accuracy;

impl Metric for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn about(&self) -> &'static str {
        "share of examples with the right class"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn of_example(&self, answer: &Answer, truth: &Label) -> Option<f64> {
        match (&answer.label, truth) {
            (Label::Class(answer), Label::Class(truth)) => Some(f64::from(u8::from(answer == truth))),
            _ => None,
        }
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let pairs = classes(answers, truth);
        share(pairs.iter().filter(|(answer, truth)| answer == truth).count() as f64, pairs.len() as f64)
    }
}

/// Right tags over all words; a missing tag is a wrong one.
pub(crate) struct TokenAccuracy;

impl Metric for TokenAccuracy {
    fn name(&self) -> &'static str {
        "token-accuracy"
    }

    fn about(&self) -> &'static str {
        "share of words with the right tag"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Tags(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let pairs = tags(answers, truth);
        let right: usize =
            pairs.iter().map(|(answer, truth)| answer.iter().zip(*truth).filter(|(a, t)| a == t).count()).sum();
        share(right as f64, pairs.iter().map(|(_, truth)| truth.len()).sum::<usize>() as f64)
    }
}
