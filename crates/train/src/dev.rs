//! Scores and losses on dev, for evaluation during training and for strategies that choose between candidates.

use anyhow::{Result, bail};
use candle_core::{Device, Error};
use mtl_backbone::{Pass, scalar};
use mtl_data::{Dataset, Example};
use mtl_eval::{Metrics, baseline_predictions};
use mtl_sharing::{DevScores, Heads, Sharing, spaced};
use mtl_task::{Label, Packed, Reads, Task, TaskId};

use crate::assemble::Assembled;
use crate::constant::constant_loss;
use crate::evaluate::{Forward, headline, judged_truths, says_nothing};

/// The data that a training is measured on while it goes on: never test.
#[derive(Clone, Copy, Default)]
pub struct DevSplits<'a> {
    /// The tasks' data, in the recipe's order.
    pub datasets: &'a [Dataset],
    /// Examples that are evaluated at a time.
    pub batch: usize,
}

impl<'a> DevSplits<'a> {
    /// No data: a strategy that asks for scores gets an error.
    pub fn none() -> Self {
        Self::default()
    }

    fn examples(&self, task: TaskId) -> Result<&'a [Example]> {
        match self.datasets.get(task.0) {
            Some(dataset) => Ok(&dataset.dev.examples),
            None => bail!("task {} has no dev data here", task.0),
        }
    }
}

/// A model without its strategy, which is given with every question.
pub(crate) struct Dev<'a> {
    pub(crate) splits: &'a DevSplits<'a>,
    pub(crate) heads: &'a Heads,
    pub(crate) tasks: &'a [Box<dyn Task>],
    pub(crate) metrics: &'a Metrics,
    pub(crate) device: &'a Device,
}

impl Dev<'_> {
    /// The headline score of `task` on `examples` under `sharing`.
    pub(crate) fn score_on(&self, examples: &[Example], sharing: &dyn Sharing, task: TaskId) -> Result<f64> {
        let kind = self.tasks[task.0].as_ref();
        let forward = Forward { heads: self.heads, sharing, device: self.device };
        let predictions = forward.answers(kind, task, examples, self.splits.batch)?;
        headline(self.metrics, kind, &predictions, &judged_truths(examples))
    }

    /// The losses of at most `most` examples of the dev split of `task`, evenly spaced.
    pub(crate) fn losses_sampled(&self, sharing: &dyn Sharing, task: TaskId, most: usize) -> Result<Vec<f64>> {
        let examples = self.splits.examples(task)?;
        let chosen: Vec<Example> = spaced(examples.len(), most).filter_map(|at| examples.get(at).cloned()).collect();
        self.losses_of(&chosen, sharing, task)
    }

    fn losses_of(&self, examples: &[Example], sharing: &dyn Sharing, task: TaskId) -> Result<Vec<f64>> {
        let (kind, mut losses) = (self.tasks[task.0].as_ref(), Vec::with_capacity(examples.len()));
        for chunk in examples.chunks(self.splits.batch.max(1)) {
            let texts = || chunk.iter().map(|example| &example.encoded);
            let tokens = if self.device.is_cpu() { Packed::new(texts()) } else { Packed::padded(texts(), 0) };
            if says_nothing(kind, &tokens) {
                losses.extend(chunk.iter().map(|_| 0.));
                continue;
            }
            let logits = self.heads.logits(sharing, task, &tokens, &mut Pass::evaluation())?;
            let mut at = 0;
            for (place, example) in chunk.iter().enumerate() {
                let one = tokens.select(place..place + 1);
                let count = match kind.reads() {
                    Reads::Text => 1,
                    Reads::Tokens => one.anchors.len(),
                };
                // A text of which no word is left after truncation says nothing.
                let loss = if count == 0 {
                    0.
                } else {
                    let labels: [Label; 1] = [example.label.clone()];
                    let truth = kind.collate(&labels, &one, self.device)?;
                    let own = logits.narrow(0, at, count)?;
                    scalar(&kind.loss(&own, &truth)?)?
                };
                at += count;
                losses.push(loss);
            }
        }
        Ok(losses)
    }
}

/// What a model does on a task's dev split.
#[derive(Clone, Debug, PartialEq)]
pub struct OnDev {
    /// The headline score.
    pub score: f64,
    /// The loss of every example, in the order of the split, without dropout.
    pub losses: Vec<f64>,
}

impl Assembled {
    /// What the model as it is does on the dev split of `task`.
    ///
    /// # Errors
    /// Those of the forward pass; if the score is not finite.
    pub fn on_dev(&self, task: TaskId) -> Result<OnDev> {
        let (model, trainer) = (&self.trainer.model, &self.trainer);
        let splits = DevSplits { datasets: &self.datasets, batch: trainer.recipe.evaluation.batch };
        let (heads, metrics, device) = (&model.heads, &trainer.recipe.registries.metrics, model.params.device());
        let dev = Dev { splits: &splits, heads, tasks: &trainer.tasks, metrics, device };
        let examples = splits.examples(task)?;
        // See `Trainer::step`: a loop from within the pool wakes nobody who is awake.
        let (score, losses) = rayon::scope(|_| {
            let sharing = model.sharing.as_ref();
            (dev.score_on(examples, sharing, task), dev.losses_of(examples, sharing, task))
        });
        let (score, losses) = (score?, losses?);
        if !score.is_finite() {
            bail!("the headline score of task `{}` on dev is {score}", model.tasks[task.0].name);
        }
        Ok(OnDev { score, losses })
    }
}

impl DevScores for Dev<'_> {
    fn score(&mut self, sharing: &dyn Sharing, task: TaskId) -> candle_core::Result<f64> {
        let scored = self.splits.examples(task).and_then(|examples| self.score_on(examples, sharing, task));
        scored.map_err(|error| Error::Msg(format!("{error:#}")))
    }

    fn losses(&mut self, sharing: &dyn Sharing, task: TaskId) -> candle_core::Result<Vec<f64>> {
        let losses = self.splits.examples(task).and_then(|examples| self.losses_of(examples, sharing, task));
        losses.map_err(|error| Error::Msg(format!("{error:#}")))
    }

    fn sampled_losses(&mut self, sharing: &dyn Sharing, task: TaskId, most: usize) -> candle_core::Result<Vec<f64>> {
        self.losses_sampled(sharing, task, most).map_err(|error| Error::Msg(format!("{error:#}")))
    }

    fn baseline_loss(&mut self, task: TaskId) -> candle_core::Result<Option<f64>> {
        let Some(dataset) = self.splits.datasets.get(task.0) else { return Ok(None) };
        constant_loss(self.tasks[task.0].as_ref(), &dataset.train.examples, &dataset.dev.examples)
    }

    fn baseline(&mut self, task: TaskId) -> candle_core::Result<Option<f64>> {
        let score = |dataset: &Dataset| {
            let (kind, truths) = (self.tasks[task.0].as_ref(), judged_truths(&dataset.dev.examples));
            let constant = kind.baseline(&judged_truths(&dataset.train.examples));
            headline(self.metrics, kind, &baseline_predictions(&constant, &truths), &truths)
        };
        let scored = self.splits.datasets.get(task.0).map(score).transpose();
        scored.map_err(|error| Error::Msg(format!("{error:#}")))
    }
}
