//! Errors of real answers: mean |ŷ − y| and mean (ŷ − y)². Lower is better, so neither can be a headline.

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::judged::{share, values};

/// Mean |ŷ − y|.
pub(crate) struct MeanAbsoluteError;

impl Metric for MeanAbsoluteError {
    fn name(&self) -> &'static str {
        "mae"
    }

    fn about(&self) -> &'static str {
        "mean absolute error; lower is better"
    }

    fn higher_is_better(&self) -> bool {
        false
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Value(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        mean_of(answers, truth, f64::abs)
    }
}

/// Mean (ŷ − y)².
pub(crate) struct MeanSquaredError;

impl Metric for MeanSquaredError {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn about(&self) -> &'static str {
        "mean squared error; lower is better"
    }

    fn higher_is_better(&self) -> bool {
        false
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Value(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        mean_of(answers, truth, |error| error * error)
    }
}

/// An answer that is no number is as wrong as can be.
fn mean_of(answers: &[Answer], truth: &[Label], price: impl Fn(f64) -> f64) -> f64 {
    let (answers, truth) = values(answers, truth);
    let sum: f64 = answers.iter().zip(&truth).map(|(answer, truth)| price(answer - truth)).sum();
    if sum.is_finite() { share(sum, truth.len() as f64) } else { f64::MAX }
}
