//! What a run reports: the content of `report.json`, whose keys are stable, and of `report.md`.

mod markdown;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mtl_task::rng::Key;
use mtl_task::{Answer, Label};
use serde::{Deserialize, Serialize};

use crate::stats::{Arms, Bootstrap, metric_interval, paired_metric};
use crate::{Judged, Metric, Metrics, baseline_predictions, scores};

/// A finished run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the recipe.
    pub recipe: String,
    /// Whether the embedded recipe stood in for one whose data could not be fetched.
    pub fallback: bool,
    /// Name of the pretrained encoder.
    pub checkpoint: String,
    /// The sharing strategy.
    pub strategy: String,
    /// The weighting rule.
    pub rule: String,
    /// The seed of every random choice.
    pub seed: u64,
    /// Where it ran, in words.
    pub device: String,
    /// The source's commit, if known.
    pub commit: Option<String>,
    /// Optimizer steps done.
    pub steps: usize,
    /// The step whose weights are judged here, chosen on dev; null if the last ones are.
    pub best_step: Option<usize>,
    /// Wall time of the training steps and of what the strategy spent on choosing; looks at dev are not counted.
    pub seconds: f64,
    /// Real tokens trained on per second of `seconds`.
    pub tokens_per_second: f64,
    /// When the test split was opened, RFC 3339 in UTC; null while it is sealed.
    pub test_opened_at: Option<String>,
    /// Learning rate before the schedule of each kind of parameter that was trained; of older runs none.
    #[serde(default)]
    pub learning_rates: BTreeMap<String, f64>,
    /// What the model weighs.
    pub parameters: Parameters,
    /// How often each outcome of the weighting rule occurred, by its printed name.
    pub outcomes: BTreeMap<String, usize>,
    /// What was found in the data, such as rows left out; each under its task's name.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The step whose weights each task keeps, where every task keeps its own; empty if all keep those of `best_step`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, Kept>,
    /// What the sharing strategy found, as it says it; null if nothing.
    #[serde(default)]
    pub findings: serde_json::Value,
    /// What a reader has to know of the strategy's result, as sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The tasks by name.
    pub tasks: BTreeMap<String, TaskReport>,
}

/// Whose weights a task keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The step that was best for it on dev.
    pub step: usize,
    /// The steps done when it left the training, out of patience; left out if it stayed to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<usize>,
}

/// Counts of parameters, heads included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// All of the multi-task model.
    pub total: usize,
    /// Those that training may change.
    pub trainable: usize,
    /// Those that each task's answers depend on.
    pub per_task: BTreeMap<String, usize>,
    /// Share of `total` that at least two tasks depend on, in [0, 1].
    pub shared_fraction: f64,
    /// What one model per task would take in all.
    pub single_task_total: usize,
    /// Size of the stored model.
    pub stored_bytes: u64,
}

/// One task's result. `dev`, `test`, `trivial` and `train` are scores by the headline metric, higher is better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// The task's kind.
    pub kind: String,
    /// Name of the headline metric.
    pub headline: String,
    /// Score on dev.
    pub dev: f64,
    /// Score on test; null while it is sealed.
    pub test: Option<f64>,
    /// Score of the baseline on test, or on dev while test is sealed.
    pub trivial: f64,
    /// 95 % percentile interval of test (or dev, while test is sealed) over resampled examples: what other examples of
    /// the kind would have said of this model. It knows nothing of other seeds. Null below two examples.
    #[serde(default)]
    pub interval: Option<[f64; 2]>,
    /// Whether the paired 95 % interval of score − trivial over resampled examples lies above 0.
    #[serde(default)]
    pub beats_trivial: bool,
    /// Score on training examples, if any were scored.
    pub train: Option<f64>,
    /// Examples to train on.
    pub n_train: Option<usize>,
    /// Dev examples scored.
    pub n_dev: usize,
    /// Test examples scored; 0 while test is sealed.
    pub n_test: usize,
    /// Every metric of the task, the headline included.
    pub metrics: BTreeMap<String, Scores>,
}

/// One metric on every split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// On training examples, if any were scored.
    pub train: Option<f64>,
    /// On dev.
    pub dev: f64,
    /// On test; null while it is sealed.
    pub test: Option<f64>,
    /// The baseline's, on test, or on dev while test is sealed.
    pub trivial: f64,
}

/// What a task's report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Splits<'a> {
    /// Answers to training examples, or a sample of them.
    pub train: Option<Judged<'a>>,
    /// Answers to dev.
    pub dev: Judged<'a>,
    /// Answers to test; `None` while it is sealed.
    pub test: Option<Judged<'a>>,
    /// Examples to train on.
    pub trained_on: usize,
}

impl TaskReport {
    /// Scores the splits of a task of `kind` by those of the `known` metrics that are called `metrics`, the headline
    /// first, beside the baseline that always answers `trivial`.
    ///
    /// # Errors
    /// If there is no metric, or [`scores`] refuses a split; the error names it.
    pub fn judge(known: &Metrics, kind: &str, metrics: &[&str], trivial: &Label, splits: Splits) -> Result<Self> {
        let headline = metrics.first().context("a task needs at least one metric")?.to_string();
        let on =
            |split: &str, judged: Judged| scores(known, metrics, judged).with_context(|| format!("scoring {split}"));
        let train = splits.train.map(|judged| on("train", judged)).transpose()?;
        let dev = on("dev", splits.dev)?;
        let test = splits.test.map(|judged| on("test", judged)).transpose()?;
        let reported = splits.test.unwrap_or(splits.dev);
        let constant = baseline_predictions(trivial, reported.truth);
        let baseline = on("the baseline", Judged { answers: &constant, ..reported })?;
        let (interval, beats_trivial) = chance(*known.find(&headline)?, reported, &constant)?;
        let metrics: BTreeMap<String, Scores> = dev
            .iter()
            .map(|(name, &dev)| {
                let of = |scores: &Option<BTreeMap<String, f64>>| scores.as_ref().map(|scores| scores[name]);
                (name.clone(), Scores { train: of(&train), dev, test: of(&test), trivial: baseline[name] })
            })
            .collect();
        let first = metrics[&headline].clone();
        Ok(Self {
            kind: kind.to_string(),
            headline,
            dev: first.dev,
            test: first.test,
            trivial: first.trivial,
            interval,
            beats_trivial,
            train: first.train,
            n_train: Some(splits.trained_on),
            n_dev: splits.dev.truth.len(),
            n_test: splits.test.map_or(0, |judged| judged.truth.len()),
            metrics,
        })
    }

    /// The score to look at: test's, or dev's while test is sealed.
    pub fn score(&self) -> f64 {
        self.test.unwrap_or(self.dev)
    }

    /// How much better training examples are answered than dev, if any were scored.
    pub fn gap(&self) -> Option<f64> {
        self.train.map(|train| train - self.dev)
    }
}

/// The interval of a score, and whether it surely exceeds that of the `trivial` answers.
fn chance(metric: &dyn Metric, judged: Judged, trivial: &[Answer]) -> Result<(Option<[f64; 2]>, bool)> {
    if judged.truth.len() < 2 {
        return Ok((None, false));
    }
    // Streams of their own: the same answers have the same interval, whatever the run's seed.
    let (key, settings) = (Key::new(0).named("report"), Bootstrap { resamples: 500, ..Bootstrap::default() });
    let interval = metric_interval(metric, judged, key.named("score"), &settings)?;
    let arms = Arms {
        first: &[judged.answers.to_vec()],
        second: &[trivial.to_vec()],
        truth: judged.truth,
        names: judged.names,
    };
    let gain = paired_metric(metric, arms, key.named("gain"), &settings)?;
    Ok((Some(interval), gain.low > 0.))
}

impl Report {
    /// Whether the test split is still sealed.
    pub fn sealed(&self) -> bool {
        self.test_opened_at.is_none()
    }

    /// The report for people; `metrics` say of each which way is better.
    pub fn to_markdown(&self, metrics: &Metrics) -> String {
        markdown::render(self, metrics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(classes: &[u32]) -> Vec<Answer> {
        classes.iter().map(|&class| Answer { label: Label::Class(class), scores: vec![0.5, 0.5] }).collect()
    }

    fn report(test: bool) -> Report {
        let names = ["ham", "spam"].map(String::from);
        let truth: Vec<Label> = [0, 1, 0, 0].map(Label::Class).to_vec();
        let (train, dev) = (answers(&[0, 1, 0, 0]), answers(&[0, 1, 0, 1]));
        let judged = |answers| Judged { answers, truth: &truth, names: &names };
        let splits = Splits {
            train: Some(judged(&train)),
            dev: judged(&dev),
            test: test.then_some(judged(&dev)),
            trained_on: 40,
        };
        let metrics = ["accuracy", "matthews"];
        let task = TaskReport::judge(&Metrics::default(), "classification", &metrics, &Label::Class(0), splits)
            .expect("scored");
        Report {
            recipe: "mail".into(),
            strategy: "hard".into(),
            rule: "nash".into(),
            test_opened_at: test.then(|| "2025-01-01T00:00:00Z".to_string()),
            tasks: BTreeMap::from([("spam|ham".to_string(), task)]),
            outcomes: BTreeMap::from([("agreed".to_string(), 9)]),
            findings: serde_json::json!({ "gates": [[0.25, 0.123456], [1.0, 0.0]], "tasks": { "spam|ham": { "kept": 1e-7 } } }),
            warnings: vec!["masks are\nalike".into()],
            parameters: Parameters { total: 60, trainable: 60, single_task_total: 100, ..Parameters::default() },
            ..Report::default()
        }
    }

    #[test]
    fn the_stable_keys_are_there() {
        let json = serde_json::to_value(report(true)).expect("serialises");
        for key in ["strategy", "rule", "seed", "device", "recipe", "checkpoint", "fallback", "seconds"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        for key in ["/parameters/total", "/parameters/per_task", "/parameters/single_task_total", "/tokens_per_second"]
        {
            assert!(json.pointer(key).is_some(), "{key}");
        }
        let task = &json["tasks"]["spam|ham"];
        assert_eq!(task["kind"], "classification");
        assert_eq!(task["headline"], "accuracy");
        assert_eq!((&task["dev"], &task["test"], &task["train"]), (&0.75.into(), &0.75.into(), &1.0.into()));
        assert_eq!((&task["trivial"], &task["n_test"], &task["n_train"]), (&0.75.into(), &4.into(), &40.into()));
        assert!(task["metrics"]["matthews"]["dev"].as_f64().is_some_and(|score| (score - 0.577).abs() < 1e-3));
        let back: Report = serde_json::from_value(json).expect("reads its own output");
        assert_eq!(back, report(true));
    }

    #[test]
    fn a_sealed_test_is_null_and_the_table_says_so() {
        let sealed = report(false);
        assert!(serde_json::to_value(&sealed).expect("serialises")["tasks"]["spam|ham"]["test"].is_null());
        assert!(sealed.to_markdown(&Metrics::default()).contains("sealed"));
        assert!(!report(true).to_markdown(&Metrics::default()).contains("sealed"));
    }

    #[test]
    fn what_the_strategy_found_stands_in_the_report() {
        let markdown = report(true).to_markdown(&Metrics::default());
        for line in
            ["**Caution**: masks are alike", "- gates: [[0.25, 0.123], [1, 0]]", "  - spam|ham", "    - kept: 1e-7"]
        {
            assert!(markdown.lines().any(|found| found == line), "{line}\n{markdown}");
        }
        let nothing = Report { findings: serde_json::Value::Null, warnings: Vec::new(), ..report(true) };
        let markdown = nothing.to_markdown(&Metrics::default());
        assert!(!markdown.contains("found"), "{markdown}");
        let mut old = serde_json::to_value(report(true)).expect("serialises");
        old.as_object_mut().expect("an object").retain(|key, _| key != "findings" && key != "warnings");
        assert_eq!(serde_json::from_value::<Report>(old).expect("an older report"), nothing);
    }

    #[test]
    fn the_table_puts_each_score_beside_the_trivial_one() {
        let markdown = report(true).to_markdown(&Metrics::default());
        let row = markdown.lines().find(|line| line.starts_with("| spam")).expect("a row per task");
        let cells = r"| spam\|ham | accuracy | 0.750 | [0.250, 1.000] | 0.750 | +0.000 ✗ | 4 | 0.750 | 4 | 1.000 | +0.250 | 40 |";
        assert_eq!(row, cells);
        assert!(markdown.contains("not clearly above the baseline: spam"), "{markdown}");
        assert!(markdown.contains("40.0 % fewer"), "{markdown}");
    }
}
