//! Predictions and scores of a model on a split.

use std::borrow::Cow;
use std::collections::BTreeSet;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use mtl_backbone::Pass;
use mtl_data::{Dataset, Example};
use mtl_eval::{Judged, Metrics};
use mtl_sharing::{Heads, Model, Sharing};
use mtl_task::rng::Key;
use mtl_task::{Answer, Label, Packed, Reads, Task, TaskBatch, TaskId};

use crate::finite::{check_answer, check_logits};
use crate::step::Trainer;

/// A model that predicts: its heads over what a strategy shows them.
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    /// The heads of all tasks.
    pub heads: &'a Heads,
    /// How they share the encoder.
    pub sharing: &'a dyn Sharing,
    /// Where the parameters live.
    pub device: &'a Device,
}

impl<'a> Forward<'a> {
    /// The model as it is.
    pub fn of(model: &'a Model) -> Self {
        Self { heads: &model.heads, sharing: model.sharing.as_ref(), device: model.params.device() }
    }

    /// The predictions for `examples` of the task `id`, in their order. Texts of like length are predicted together,
    /// `batch` at a time.
    ///
    /// # Errors
    /// If one is not finite; those of the forward pass.
    pub fn answers(self, task: &dyn Task, id: TaskId, examples: &[Example], batch: usize) -> Result<Vec<Answer>> {
        Ok(self.answers_each(&[(id, task)], examples, batch)?.swap_remove(0))
    }

    /// The predictions for the same `examples` by each of `tasks`, task after task, in the examples' order: those of
    /// [`Forward::answers`], but states that several tasks see are computed once, see [`Sharing::represent_each`].
    ///
    /// # Errors
    /// As [`Forward::answers`].
    pub fn answers_each(
        self,
        tasks: &[(TaskId, &dyn Task)],
        examples: &[Example],
        batch: usize,
    ) -> Result<Vec<Vec<Answer>>> {
        let within = || {
            let mut order: Vec<usize> = (0..examples.len()).collect();
            order.sort_by_key(|&index| examples[index].encoded.ids.len());
            let mut answers: Vec<Vec<Option<Answer>>> = vec![vec![None; examples.len()]; tasks.len()];
            for chunk in order.chunks(batch.max(1)) {
                let texts = chunk.iter().map(|&index| &examples[index].encoded);
                let tokens = if self.device.is_cpu() { Packed::new(texts) } else { Packed::padded(texts, 0) };
                let asked: Vec<TaskId> =
                    tasks.iter().filter(|(_, task)| !says_nothing(*task, &tokens)).map(|(id, _)| *id).collect();
                let logits = match asked.is_empty() {
                    true => Vec::new(),
                    false => self.heads.logits_each(self.sharing, &asked, &tokens, &mut Pass::evaluation())?,
                };
                let mut logits = logits.into_iter();
                for (answers, (_, task)) in answers.iter_mut().zip(tasks) {
                    let logits = match says_nothing(*task, &tokens) {
                        true => Tensor::zeros((0, task.outputs()), DType::F32, &Device::Cpu)?,
                        false => logits.next().context("a task without logits")?,
                    };
                    check_logits(&logits)?;
                    for (&index, answer) in chunk.iter().zip(task.decode(&logits, &tokens)?) {
                        check_answer(&answer)?;
                        answers[index] = Some(answer);
                    }
                }
            }
            let whole = |answers: Vec<Option<Answer>>| answers.into_iter().collect::<Option<Vec<Answer>>>();
            answers.into_iter().map(whole).collect::<Option<_>>().context("a text was left without a prediction")
        };
        // See `Trainer::step`: a loop from within the pool wakes nobody who is awake.
        rayon::scope(|_| within())
    }
}

/// Whether `task` has nothing to say of `tokens`: it tags words, and none of them has a token. Then its head is not
/// asked, for GPUs refuse empty tensors and a mean over no word is no number.
pub(crate) fn says_nothing(task: &dyn Task, tokens: &Packed) -> bool {
    task.reads() == Reads::Tokens && tokens.anchors.is_empty()
}

impl Trainer {
    /// The predictions of the model as it is for `examples` of `task`, see [`Forward::answers`].
    pub(crate) fn answers(&self, task: TaskId, examples: &[Example], batch: usize) -> Result<Vec<Answer>> {
        let answers = Forward::of(&self.model).answers(self.tasks[task.0].as_ref(), task, examples, batch);
        answers.with_context(|| format!("task `{}`", self.model.tasks[task.0].name))
    }

    /// `mini_batches` without the tasks that one of these leaves without a word: they sit out.
    pub(crate) fn learnable<'a>(&self, mini_batches: &'a [Vec<TaskBatch>]) -> Cow<'a, [Vec<TaskBatch>]> {
        let all = || mini_batches.iter().flatten();
        let out: BTreeSet<TaskId> = all().filter(|batch| !self.is_learnable(batch)).map(|batch| batch.task).collect();
        if out.is_empty() {
            return Cow::Borrowed(mini_batches);
        }
        let stays = |batch: &&TaskBatch| !out.contains(&batch.task);
        mini_batches.iter().map(|batches| batches.iter().filter(stays).cloned().collect()).collect()
    }

    /// Whether there is anything in `batch` that its task learns from.
    pub(crate) fn is_learnable(&self, batch: &TaskBatch) -> bool {
        !says_nothing(self.tasks[batch.task.0].as_ref(), &batch.tokens)
    }
}

/// As many training examples of `dataset` as its dev split has, or all: drawn, because files are often sorted by label,
/// and the same in every run, so that train scores of two runs are over the same examples.
pub fn train_sample(dataset: &Dataset) -> Vec<Example> {
    let (train, count) = (&dataset.train.examples, dataset.dev.examples.len());
    let mut chosen = Key::new(0).named("train sample").named(&dataset.name).stream().permutation(train.len());
    chosen.truncate(count);
    chosen.sort_unstable();
    chosen.into_iter().map(|index| train[index].clone()).collect()
}

/// The truths of `examples`.
pub fn judged_truths(examples: &[Example]) -> Vec<Label> {
    examples.iter().map(|example| example.label.clone()).collect()
}

/// The headline score of `answers`, by the metric of `metrics` that `task` names first.
///
/// # Errors
/// If the metric refuses them.
pub fn headline(metrics: &Metrics, task: &dyn Task, answers: &[Answer], truth: &[Label]) -> Result<f64> {
    let metric = *task.metrics().first().context("a task without metrics")?;
    let scores = mtl_eval::scores(metrics, &[metric], Judged { answers, truth, names: task.names() })?;
    scores.get(metric).copied().context("a metric without a score")
}
