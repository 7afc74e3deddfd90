//! The metrics, sorted by name.

use mtl_task::{Member, Registry};

use crate::{Metric, accuracy, calibration, correlation, error, f1, matthews, sets, spans};

/// Metrics by name: the built-in ones by default, and those that a program adds.
pub type Metrics = Registry<&'static dyn Metric>;

const BUILT_IN: &[&dyn Metric] = &[
    &accuracy::Accuracy,
    &f1::AccuracyF1,
    &f1::BinaryF1,
    &calibration::ExpectedCalibrationError,
    &f1::MacroF1,
    &f1::MacroRecall,
    &error::MeanAbsoluteError,
    &matthews::Matthews,
    &f1::MicroF1,
    &error::MeanSquaredError,
    &correlation::Pearson,
    &correlation::PearsonSpearman,
    &sets::SetF1,
    &sets::SetMacroF1,
    &sets::SetMeanAveragePrecision,
    &spans::SpanF1,
    &spans::SpanF1Strict,
    &spans::SpanF1StrictIob1,
    &correlation::Spearman,
    &f1::StanceF1,
    &sets::SubsetAccuracy,
    &accuracy::TokenAccuracy,
];

impl Member for &'static dyn Metric {
    const KIND: &'static str = "metric";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        (**self).name()
    }
}

#[cfg(test)]
mod tests {
    use mtl_task::{Answer, Label};

    use super::*;
    use crate::baseline_predictions;

    /// One truth of each form, with a constant answer to it.
    fn forms() -> Vec<(Label, Vec<Label>)> {
        vec![
            (Label::Class(0), vec![Label::Class(0), Label::Class(1), Label::Class(2)]),
            (Label::Value(0.5), vec![Label::Value(0.), Label::Value(1.), Label::Value(-3.)]),
            (Label::Set(vec![true, false]), vec![Label::Set(vec![true, true]), Label::Set(vec![false, false])]),
            (Label::Tags(vec![0]), vec![Label::Tags(vec![0, 1, 2]), Label::Tags(vec![])]),
        ]
    }

    fn names() -> Vec<String> {
        ["O", "B-x", "I-x"].map(String::from).to_vec()
    }

    #[test]
    fn metrics_are_found_and_a_typing_error_is_understood() {
        let metrics = Metrics::default();
        assert!(metrics.iter().all(|metric| metrics.find(metric.name()).is_ok() && !metric.about().is_empty()));
        let error = metrics.find("acuracy").err().expect("no such metric").to_string();
        assert!(error.contains("(did you mean `accuracy`?)") && error.contains("token-accuracy"), "{error}");
    }

    #[test]
    fn no_metric_in_the_source_is_left_out() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let written: usize = std::fs::read_dir(source)
            .expect("the source folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
            .map(|path| std::fs::read_to_string(path).expect("a source file"))
            .map(|text| text.lines().filter(|line| line.starts_with("impl Metric for ")).count())
            .sum();
        assert_eq!(written, Metrics::default().names().len());
    }

    #[test]
    fn every_metric_is_finite_on_what_it_judges_and_0_on_nothing() {
        for metric in &Metrics::default() {
            let mut judged = 0;
            for (answer, truth) in forms() {
                let score = metric.score(&baseline_predictions(&answer, &truth), &truth, &names());
                assert!(score.is_finite(), "{}: {score} on {truth:?}", metric.name());
                let [low, high] = metric.range();
                assert!((low..=high).contains(&score), "{}: {score} is not in {low} to {high}", metric.name());
                judged += usize::from(metric.judges(&truth[0]));
            }
            assert!(judged > 0, "{} judges nothing", metric.name());
            assert_eq!(metric.score(&[], &[], &names()), 0., "{}", metric.name());
        }
    }

    #[test]
    fn the_truth_itself_has_the_best_score() {
        for metric in &Metrics::default() {
            for (_, truth) in forms().into_iter().filter(|(_, truth)| metric.judges(&truth[0])) {
                let answers: Vec<Answer> = truth
                    .iter()
                    .map(|label| baseline_predictions(label, std::slice::from_ref(label)).remove(0))
                    .collect();
                let answers: Vec<Answer> = answers
                    .into_iter()
                    .zip(&truth)
                    .map(|(answer, truth)| Answer { label: truth.clone(), scores: answer.scores })
                    .collect();
                let best = if metric.higher_is_better() { 1. } else { 0. };
                let score = metric.score(&answers, &truth, &names());
                assert!((score - best).abs() < 1e-12, "{}: {score} for {truth:?}", metric.name());
            }
        }
    }

    /// What resampling relies on.
    #[test]
    fn the_score_of_many_is_the_mean_of_those_of_each_where_a_metric_says_so() {
        let mut means = 0;
        for metric in &Metrics::default() {
            for (answer, truth) in forms() {
                let answers = baseline_predictions(&answer, &truth);
                let each: Option<Vec<f64>> =
                    answers.iter().zip(&truth).map(|(answer, truth)| metric.of_example(answer, truth)).collect();
                let Some(each) = each else { continue };
                let mean = each.iter().sum::<f64>() / each.len() as f64;
                assert!((mean - metric.score(&answers, &truth, &names())).abs() < 1e-12, "{}", metric.name());
                means += 1;
            }
        }
        assert!(means > 0);
    }

    #[test]
    fn a_constant_answer_correlates_with_nothing() {
        let metrics = Metrics::default();
        for name in ["matthews", "pearson", "pearson-spearman", "spearman"] {
            let metric = metrics.find(name).expect("known");
            let (answer, truth) =
                forms().into_iter().find(|(_, truth)| metric.judges(&truth[0])).expect("judges some form");
            assert_eq!(metric.score(&baseline_predictions(&answer, &truth), &truth, &names()), 0., "{name}");
        }
    }
}
