//! Matthews' correlation of classes: (c·s − Σₖ pₖtₖ) / √((s² − Σₖ pₖ²)(s² − Σₖ tₖ²)),
//! with c right answers of s, and pₖ, tₖ how often class k is answered and true.
//!
//! Matthews 1975; for more than two classes Gorodkin, "Comparing two K-category assignments" (2004).

use std::collections::BTreeMap;

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::judged::classes;

/// Matthews' correlation coefficient; 0 if only one class is answered, or only one is true.
pub(crate) struct Matthews;

impl Metric for Matthews {
    fn name(&self) -> &'static str {
        "matthews"
    }

    fn about(&self) -> &'static str {
        "Matthews' correlation of classes (GLUE CoLA); 0 for a constant answer"
    }

    fn range(&self) -> [f64; 2] {
        [-1., 1.]
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let pairs = classes(answers, truth);
        let mut counts = BTreeMap::<u32, (f64, f64)>::new();
        for (answer, truth) in &pairs {
            counts.entry(*answer).or_default().0 += 1.;
            counts.entry(*truth).or_default().1 += 1.;
        }
        let right = pairs.iter().filter(|(answer, truth)| answer == truth).count() as f64;
        let all = pairs.len() as f64;
        let sum = |term: fn(&(f64, f64)) -> f64| counts.values().map(term).sum::<f64>();
        let spread = (all * all - sum(|(p, _)| p * p)) * (all * all - sum(|(_, t)| t * t));
        if spread > 0. { (right * all - sum(|(p, t)| p * t)) / spread.sqrt() } else { 0. }
    }
}
