//! F1 = 2·TP / (2·TP + FP + FN) of one class, and its means over classes (van Rijsbergen, "Information Retrieval", 1979).
//!
//! Means over classes run over those that occur among truths or answers, as in scikit-learn and in the official
//! TweetEval script. A class whose F1 or recall is 0/0 scores 0.

use std::collections::BTreeMap;

use mtl_task::{Answer, Label};

use crate::Metric;
use crate::judged::{classes, share};

/// F1 of the class with index 1.
pub(crate) struct BinaryF1;

impl Metric for BinaryF1 {
    fn name(&self) -> &'static str {
        "binary-f1"
    }

    fn about(&self) -> &'static str {
        "F1 of class 1 (TweetEval irony)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        Counts::by_class(answers, truth).get(&1).map_or(0., Counts::f1)
    }
}

/// The mean of accuracy and F1 of class 1.
pub(crate) struct AccuracyF1;

impl Metric for AccuracyF1 {
    fn name(&self) -> &'static str {
        "accuracy-f1"
    }

    fn about(&self) -> &'static str {
        "mean of accuracy and F1 of class 1 (GLUE MRPC and QQP)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        (crate::accuracy::Accuracy.score(answers, truth, names) + BinaryF1.score(answers, truth, names)) / 2.
    }
}

/// The mean of the classes' F1.
pub(crate) struct MacroF1;

impl Metric for MacroF1 {
    fn name(&self) -> &'static str {
        "macro-f1"
    }

    fn about(&self) -> &'static str {
        "mean of the classes' F1 (TweetEval emoji, emotion, hate, offensive)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        mean(&Counts::by_class(answers, truth), Counts::f1)
    }
}

/// F1 of the counts of all classes together; with one class per example it equals accuracy.
pub(crate) struct MicroF1;

impl Metric for MicroF1 {
    fn name(&self) -> &'static str {
        "micro-f1"
    }

    fn about(&self) -> &'static str {
        "F1 of all classes' counts together; equals accuracy"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        Counts::by_class(answers, truth).values().fold(Counts::default(), |sum, class| sum.plus(class)).f1()
    }
}

/// The mean of the classes' recall TP / (TP + FN).
pub(crate) struct MacroRecall;

impl Metric for MacroRecall {
    fn name(&self) -> &'static str {
        "macro-recall"
    }

    fn about(&self) -> &'static str {
        "mean of the classes' recall (TweetEval sentiment)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        mean(&Counts::by_class(answers, truth), |class| share(class.hits, class.hits + class.misses))
    }
}

/// The mean F1 of the classes named `against` and `favor` (or `favour`), or of classes 1 and 2 if no such names exist.
pub(crate) struct StanceF1;

impl Metric for StanceF1 {
    fn name(&self) -> &'static str {
        "stance-f1"
    }

    fn about(&self) -> &'static str {
        "mean F1 of against and favour (TweetEval stance)"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], names: &[String]) -> f64 {
        let index = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.to_lowercase().as_str()));
        let (against, favour) = match (index(&["against"]), index(&["favor", "favour"])) {
            (Some(against), Some(favour)) => (against as u32, favour as u32),
            _ => (1, 2),
        };
        let counts = Counts::by_class(answers, truth);
        [against, favour].iter().map(|class| counts.get(class).map_or(0., Counts::f1)).sum::<f64>() / 2.
    }
}

/// What happened to one class: true positives, false positives, false negatives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: f64,
    pub(crate) alarms: f64,
    pub(crate) misses: f64,
}

impl Counts {
    /// The counts of every class that occurs.
    pub(crate) fn by_class(answers: &[Answer], truth: &[Label]) -> BTreeMap<u32, Self> {
        let mut counts = BTreeMap::<u32, Self>::new();
        for (answer, truth) in classes(answers, truth) {
            if answer == truth {
                counts.entry(truth).or_default().hits += 1.;
            } else {
                counts.entry(truth).or_default().misses += 1.;
                counts.entry(answer).or_default().alarms += 1.;
            }
        }
        counts
    }

    /// Adds one yes-or-no decision.
    pub(crate) fn count(&mut self, answer: bool, truth: bool) {
        match (answer, truth) {
            (true, true) => self.hits += 1.,
            (true, false) => self.alarms += 1.,
            (false, true) => self.misses += 1.,
            (false, false) => {}
        }
    }

    pub(crate) fn plus(self, other: &Self) -> Self {
        Self { hits: self.hits + other.hits, alarms: self.alarms + other.alarms, misses: self.misses + other.misses }
    }

    pub(crate) fn f1(&self) -> f64 {
        share(2. * self.hits, 2. * self.hits + self.alarms + self.misses)
    }
}

fn mean(counts: &BTreeMap<u32, Counts>, score: impl Fn(&Counts) -> f64) -> f64 {
    share(counts.values().map(score).sum(), counts.len() as f64)
}
