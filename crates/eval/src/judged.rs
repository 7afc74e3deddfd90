//! From examples to what metrics count: checked pairs of answer and truth.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use mtl_task::{Answer, Label};

use crate::Metrics;

/// The answers to one split beside its truths, and the names of what is answered.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// One answer per example.
    pub answers: &'a [Answer],
    /// One truth per example.
    pub truth: &'a [Label],
    /// Class, label or tag names in index order; empty for regression.
    pub names: &'a [String],
}

/// The scores of one split by each metric of `known` that is `asked` for, by name.
///
/// # Errors
/// If there are no examples, not as many answers as truths, an answer that is not of its truth's form or length, an
/// unknown metric, or one that does not judge such truths or names.
pub fn scores(known: &Metrics, asked: &[&str], judged: Judged) -> Result<BTreeMap<String, f64>> {
    let Judged { answers, truth, names } = judged;
    ensure!(!truth.is_empty(), "there are no examples to score");
    ensure!(answers.len() == truth.len(), "{} answers for {} truths", answers.len(), truth.len());
    for (example, (answer, truth)) in answers.iter().zip(truth).enumerate() {
        ensure!(alike(&answer.label, truth), "example {example}: answered {:?}, where {truth:?} is true", answer.label);
    }
    let mut scores = BTreeMap::new();
    for name in asked {
        let metric = known.find(name)?;
        if let Some(truth) = truth.iter().find(|truth| !metric.judges(truth)) {
            bail!("metric `{name}` ({}) does not judge truths like {truth:?}", metric.about());
        }
        if let Err(reason) = metric.fits(names) {
            bail!("metric `{name}` ({}) is not for this task: {reason}", metric.about());
        }
        scores.insert((*name).to_string(), metric.score(answers, truth, names));
    }
    Ok(scores)
}

/// What the baseline predicts for each of `truth`: always `label`, a lone tag repeated over each example's words.
///
/// It is sure of itself: every score is 1 for what it answers and 0 for what it does not.
pub fn baseline_predictions(label: &Label, truth: &[Label]) -> Vec<Answer> {
    truth
        .iter()
        .map(|truth| match (label, truth) {
            (Label::Tags(tag), Label::Tags(words)) => {
                let tags = tag.iter().copied().cycle().take(words.len()).collect();
                Answer { label: Label::Tags(tags), scores: vec![1.; words.len()] }
            }
            (Label::Set(set), _) => {
                Answer { label: label.clone(), scores: set.iter().map(|&holds| f32::from(u8::from(holds))).collect() }
            }
            (Label::Class(class), _) => {
                let mut scores = vec![0.; *class as usize + 1];
                scores[*class as usize] = 1.;
                Answer { label: label.clone(), scores }
            }
            _ => Answer { label: label.clone(), scores: Vec::new() },
        })
        .collect()
}

/// The classes answered and true.
pub(crate) fn classes(answers: &[Answer], truth: &[Label]) -> Vec<(u32, u32)> {
    pairs(answers, truth, |answer, truth| match (&answer.label, truth) {
        (Label::Class(answer), Label::Class(truth)) => Some((*answer, *truth)),
        _ => None,
    })
}

/// The values answered and true.
pub(crate) fn values(answers: &[Answer], truth: &[Label]) -> (Vec<f64>, Vec<f64>) {
    pairs(answers, truth, |answer, truth| match (&answer.label, truth) {
        (Label::Value(answer), Label::Value(truth)) => Some((f64::from(*answer), f64::from(*truth))),
        _ => None,
    })
    .into_iter()
    .unzip()
}

/// The sets answered and true.
pub(crate) fn sets<'a>(answers: &'a [Answer], truth: &'a [Label]) -> Vec<(&'a [bool], &'a [bool])> {
    pairs(answers, truth, |answer, truth| match (&answer.label, truth) {
        (Label::Set(answer), Label::Set(truth)) => Some((answer.as_slice(), truth.as_slice())),
        _ => None,
    })
}

/// The tags answered and true, a pair of sequences per example.
pub(crate) fn tags<'a>(answers: &'a [Answer], truth: &'a [Label]) -> Vec<(&'a [u32], &'a [u32])> {
    pairs(answers, truth, |answer, truth| match (&answer.label, truth) {
        (Label::Tags(answer), Label::Tags(truth)) => Some((answer.as_slice(), truth.as_slice())),
        _ => None,
    })
}

/// `part / whole`, and 0 where there is nothing to divide.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0. { part / whole } else { 0. }
}

pub(crate) fn pairs<'a, T>(
    answers: &'a [Answer],
    truth: &'a [Label],
    read: impl Fn(&'a Answer, &'a Label) -> Option<T>,
) -> Vec<T> {
    assert_eq!(answers.len(), truth.len(), "a metric needs one answer per truth");
    answers.iter().zip(truth).filter_map(|(answer, truth)| read(answer, truth)).collect()
}

fn alike(answer: &Label, truth: &Label) -> bool {
    match (answer, truth) {
        (Label::Class(_), Label::Class(_)) | (Label::Value(_), Label::Value(_)) => true,
        (Label::Set(answer), Label::Set(truth)) => answer.len() == truth.len(),
        (Label::Tags(answer), Label::Tags(truth)) => answer.len() == truth.len(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(class: u32) -> Answer {
        Answer { label: Label::Class(class), scores: Vec::new() }
    }

    #[test]
    fn what_cannot_be_scored_is_refused_with_a_reason() {
        let truth = [Label::Class(0), Label::Class(1)];
        let judge = |metric: &str, answers: &[Answer], truth: &[Label]| {
            scores(&Metrics::default(), &[metric], Judged { answers, truth, names: &[] })
                .map_err(|error| error.to_string())
        };
        assert_eq!(judge("accuracy", &[class(0), class(0)], &truth).expect("scored")["accuracy"], 0.5);
        for (metric, answers, truth, reason) in [
            ("accuracy", vec![], vec![], "no examples"),
            ("accuracy", vec![class(0)], truth.to_vec(), "1 answers for 2 truths"),
            ("acuracy", vec![class(0); 2], truth.to_vec(), "did you mean `accuracy`?"),
            ("span-f1", vec![class(0); 2], truth.to_vec(), "does not judge"),
            ("accuracy", vec![class(0); 2], vec![Label::Class(0), Label::Value(1.)], "example 1"),
        ] {
            let error = judge(metric, &answers, &truth).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_trivial_tag_is_repeated_over_the_words() {
        let answers = baseline_predictions(&Label::Tags(vec![2]), &[Label::Tags(vec![0, 1, 0]), Label::Tags(vec![1])]);
        assert_eq!(answers[0].label, Label::Tags(vec![2, 2, 2]));
        assert_eq!(answers[1].scores, [1.]);
    }
}
