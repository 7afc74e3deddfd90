//! Expected calibration error: Σ_b (n_b / n)·|accuracy(b) − confidence(b)| over 15 equal bins of confidence.
//!
//! Guo et al., "On calibration of modern neural networks" (ICML 2017). Bins are open to the left, (l, u], and the
//! first one holds 0 too.

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::judged::share;

const BINS: usize = 15;

/// How far confidence is from accuracy, in [0, 1]. An answer's confidence is its highest class score, or its tag's.
pub(crate) struct ExpectedCalibrationError;

impl Metric for ExpectedCalibrationError {
    fn name(&self) -> &'static str {
        "ece"
    }

    fn about(&self) -> &'static str {
        "expected calibration error in 15 bins of confidence; lower is better"
    }

    fn higher_is_better(&self) -> bool {
        false
    }

    fn reads_scores(&self) -> bool {
        true
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_) | Label::Tags(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        assert_eq!(answers.len(), truth.len(), "a metric needs one answer per truth");
        // Per bin: answers, sum of confidence, right answers.
        let mut bins = [(0., 0., 0.); BINS];
        let mut count = |confidence: f32, right: bool| {
            let confidence = f64::from(confidence).clamp(0., 1.);
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            bins[bin].0 += 1.;
            bins[bin].1 += confidence;
            bins[bin].2 += f64::from(u8::from(right));
        };
        for (answer, truth) in answers.iter().zip(truth) {
            match (&answer.label, truth) {
                (Label::Class(class), Label::Class(truth)) => {
                    count(answer.scores.iter().copied().fold(0., f32::max), class == truth);
                }
                (Label::Tags(tags), Label::Tags(truth)) => {
                    tags.iter()
                        .zip(truth)
                        .zip(&answer.scores)
                        .for_each(|((tag, truth), &score)| count(score, tag == truth));
                }
                _ => {}
            }
        }
        let all = bins.iter().map(|bin| bin.0).sum();
        share(bins.iter().map(|(_, confidence, right)| f64::abs(confidence - right)).sum(), all)
    }
}
