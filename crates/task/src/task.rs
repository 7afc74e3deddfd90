//! What a task asks of a model.

use candle_core::{Device, Result, Tensor};

use crate::rng::Key;
use crate::{Answer, Cell, Encoded, Label, Likelihood, Packed, Reads, Registry, Soft, TaskSpec};

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

    /// Of a kind whose rows bear no truth ([`Kind::labelled`]): `encoded` as the model is to read it, and the truth that
    /// this leaves, both a function of `key` and of the text as it was read. A text that was masked before is restored
    /// first: `label` is then the truth that was left, and empty tags otherwise. None for other kinds.
    fn masked(&self, _encoded: &Encoded, _label: &Label, _key: Key) -> Option<(Encoded, Label)> {
        None
    }

    /// The truths of a batch as a tensor on `device`: `[sequences]` (u32 or f32), `[sequences, labels]` (f32), or
    /// `[anchors]` (u32).
    fn collate(&self, labels: &[Label], tokens: &Packed, device: &Device) -> Result<Tensor>;

    /// The mean loss over the batch, a scalar. `logits` is `[sequences, outputs]`, or `[anchors, outputs]`.
    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor>;

    /// How this task's answers are learnt from another model's; none if they cannot be.
    fn soft(&self) -> Option<Soft> {
        None
    }

    /// One answer per sequence. Words cut off by truncation are answered with the neutral tag.
    fn decode(&self, logits: &Tensor, tokens: &Packed) -> Result<Vec<Answer>>;

    /// The noise model behind [`Task::loss`].
    fn likelihood(&self) -> Likelihood;

    /// Names of the metrics that judge this task, in the `eval` crate's registry; the first one is the headline.
    fn metrics(&self) -> Vec<&str>;

    /// The prediction of the baseline: the majority class, tag or set, or the mean value, of `truths`.
    fn baseline(&self, truths: &[Label]) -> Label;

    /// `label` in the task's own names, for people and for `predict --json`.
    fn render(&self, label: &Label) -> serde_json::Value;
}

/// A task kind. [`Registry<Kind>`] holds the built-in ones by default, and takes those of a program: every field is
/// public, so that another crate can write its own constant.
#[derive(Clone)]
pub struct Kind {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// A truth of this kind. Its form says which metrics judge the kind, and how rows become truths: of
    /// [`Label::Class`], drawn splits keep the shares of the classes; of [`Label::Tags`], rows are words with a tag each.
    pub truth: Label,
    /// Whether rows bear a truth. If not, no column is read for it, and the tasks of this kind make it of the text, see
    /// [`Task::masked`]; their labels are the tokens of the training split.
    pub labelled: bool,
    /// Builds a task from its table; `labels` are filled in already.
    pub build: fn(&TaskSpec) -> anyhow::Result<Box<dyn Task>>,
    /// The label names that one field mentions, for inferring `labels` from the training split; none if the kind has no
    /// names.
    pub mentions: fn(&Cell) -> Vec<String>,
}

impl Kind {
    /// Whether rows are words with a tag each.
    pub fn tags_words(&self) -> bool {
        self.labelled && matches!(self.truth, Label::Tags(_))
    }
}

/// Builds the task that `spec` describes by one of `kinds`; its `labels` are filled in already.
///
/// # Errors
/// If the kind is unknown or the table does not fit it.
pub fn build(kinds: &Registry<Kind>, spec: &TaskSpec) -> anyhow::Result<Box<dyn Task>> {
    (kinds.find(&spec.kind)?.build)(spec)
}

/// The metrics of a kind, `headline` in front if the manifest names one. That there is such a metric, and that it judges
/// the kind, is for whoever has the registry of metrics to see.
pub fn headline_first(defaults: &[&str], headline: Option<&str>) -> Vec<String> {
    let others = defaults.iter().copied().filter(|metric| Some(*metric) != headline);
    headline.into_iter().chain(others).map(String::from).collect()
}
