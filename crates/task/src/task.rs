//! What a task asks of a model.

use candle_core::{Device, Result, Tensor};

use crate::{Answer, Cell, Label, Likelihood, Packed, Reads, TaskSpec};

/// The head a task reads through, its loss, and how to read its answers. Implementations hold no weights.
pub trait Task: Send + Sync {
    /// Width of the head's output.
    fn outputs(&self) -> usize;

    /// What the head reads.
    fn reads(&self) -> Reads;

    /// Names of the classes, labels or tags in index order; empty for regression.
    fn names(&self) -> &[String];

    /// Reads one field as this task's truth.
    ///
    /// # Errors
    /// Says what was found and what would be right; the reader adds file and line.
    fn parse(&self, cell: &Cell) -> anyhow::Result<Label>;

    /// `spec` with what this task takes from the truths of the training split, such as a scale.
    ///
    /// # Errors
    /// If a truth cannot be read, or nothing can be learnt from them.
    fn fitted(
        &self,
        spec: &TaskSpec,
        _truths: &mut dyn Iterator<Item = anyhow::Result<Label>>,
    ) -> anyhow::Result<TaskSpec> {
        Ok(spec.clone())
    }

    /// The truths of a batch as a tensor on `device`: `[sequences]` (u32 or f32), `[sequences, labels]` (f32), or
    /// `[anchors]` (u32).
    fn collate(&self, labels: &[Label], tokens: &Packed, device: &Device) -> Result<Tensor>;

    /// The mean loss over the batch, a scalar. `logits` is `[sequences, outputs]`, or `[anchors, outputs]`.
    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor>;

    /// One answer per sequence. Words cut off by truncation are answered with the neutral tag.
    fn decode(&self, logits: &Tensor, tokens: &Packed) -> Result<Vec<Answer>>;

    /// The noise model behind [`Task::loss`].
    fn likelihood(&self) -> Likelihood;

    /// Names of the metrics that judge this task, in the `eval` crate's registry; the first one is the headline.
    fn metrics(&self) -> Vec<&'static str>;

    /// The prediction of the baseline: the majority class, tag or set, or the mean value, of `truths`.
    fn baseline(&self, truths: &[Label]) -> Label;

    /// `label` in the task's own names, for people and for `predict --json`.
    fn render(&self, label: &Label) -> serde_json::Value;
}

/// One entry of the registry of task kinds.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Builds a task from its table; `labels` are filled in already.
    pub build: fn(&TaskSpec) -> anyhow::Result<Box<dyn Task>>,
    /// The label names that one field mentions, for inferring `labels` from the training split.
    pub mentions: fn(&Cell) -> Vec<String>,
}

/// The metrics of a kind, `headline` in front if the manifest names one.
///
/// # Errors
/// If `headline` is no metric that any kind knows.
pub(crate) fn headline_first(defaults: &[&'static str], headline: Option<&str>) -> anyhow::Result<Vec<&'static str>> {
    let mut metrics = defaults.to_vec();
    let Some(wanted) = headline else { return Ok(metrics) };
    let Some(name) = HEADLINES.iter().find(|name| **name == wanted) else {
        anyhow::bail!(
            "unknown headline metric `{wanted}`{}; there are {}",
            crate::nearest(wanted, HEADLINES.iter().copied()),
            HEADLINES.join(", ")
        );
    };
    metrics.retain(|metric| metric != name);
    metrics.insert(0, name);
    Ok(metrics)
}

/// The metrics that can head a task's line: higher is better for all of them.
const HEADLINES: &[&str] = &[
    "accuracy",
    "binary-f1",
    "macro-f1",
    "macro-recall",
    "matthews",
    "micro-f1",
    "pearson",
    "pearson-spearman",
    "set-f1",
    "set-map",
    "span-f1",
    "span-f1-strict",
    "span-f1-strict-iob1",
    "spearman",
    "stance-f1",
    "subset-accuracy",
    "token-accuracy",
];
