//! Evaluation on dev during training, and the beginning of phases.

use std::time::Instant;

use anyhow::Result;
use cpu_time::ProcessTime;
use mtl_task::TaskId;

use super::{EvaluationPoint, Run};
use crate::dev::{Dev, DevSplits};
use crate::evaluate::train_sample;

impl Run {
    /// Headline scores now, task by task.
    pub(super) fn scores(&self) -> Result<EvaluationPoint> {
        let (assembled, trainer) = (&self.assembled, &self.assembled.trainer);
        let splits = DevSplits { datasets: &assembled.datasets, batch: self.recipe.evaluation.batch };
        let model = &trainer.model;
        let dev = Dev {
            splits: &splits,
            heads: &model.heads,
            tasks: &trainer.tasks,
            metrics: &self.recipe.registries.metrics,
            device: model.params.device(),
        };
        let tasks = || assembled.datasets.iter().enumerate();
        let score = |examples: &[mtl_data::Example], task| dev.score_on(examples, model.sharing.as_ref(), TaskId(task));
        let on_dev = tasks().map(|(task, data)| score(&data.dev.examples, task)).collect::<Result<_>>()?;
        let train = match self.recipe.evaluation.train_curve {
            true => tasks().map(|(task, data)| score(&train_sample(data), task)).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        Ok(EvaluationPoint { step: self.state.step, dev: on_dev, train })
    }

    /// Tells the strategy that a phase begins (or, with the number of phases, that training is over).
    pub(super) fn enter(&mut self, phase: usize) -> Result<()> {
        // Choosing costs too, and is the strategy's to pay.
        let (started, processor) = (Instant::now(), ProcessTime::now());
        let splits = DevSplits { datasets: &self.assembled.datasets, batch: self.recipe.evaluation.batch };
        let entered = self.assembled.trainer.enter(phase, &splits);
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.cpu_seconds += processor.elapsed().as_secs_f64();
        entered
    }
}
