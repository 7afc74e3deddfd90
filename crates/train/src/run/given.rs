//! Runs of which a part is decided elsewhere: which tasks go on, and where the weights come from.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use candle_core::Tensor;
use mtl_eval::Report;
use mtl_task::TaskId;

use super::Run;
use crate::recipe::Keep;
use crate::resume::LAST;

/// What a model cost that was not trained in its own folder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Wall time of training, in seconds.
    pub seconds: f64,
    /// Processor time of training on all threads, in seconds.
    pub cpu_seconds: f64,
    /// Real tokens trained on.
    pub tokens: u64,
}

impl Run {
    /// Steps done so far.
    pub fn steps_done(&self) -> usize {
        self.state.step
    }

    /// Trains none but `tasks` from here on: the others sit out, as in a phase that leaves them out. The batches of
    /// those that stay are what they would have been. A run that is interrupted is told so again when it goes on.
    pub fn training_only(&mut self, tasks: &[TaskId]) {
        for phase in &mut self.phases {
            let stays = |task: &TaskId| phase.tasks.as_ref().is_none_or(|before| before.contains(task));
            phase.tasks = Some(tasks.iter().copied().filter(stays).collect());
        }
    }

    /// What the run cost so far.
    pub fn spent(&self) -> Spent {
        Spent { seconds: self.state.seconds, cpu_seconds: self.state.cpu_seconds, tokens: self.state.tokens }
    }

    /// Ends the run without a step, by `weights` (each parameter's values by its name) that were trained elsewhere at the
    /// cost of `spent`: saves them as what
    /// the run came to, scores them, on test too if the recipe opens it, and writes the report. A run that is over gives
    /// its report.
    ///
    /// # Errors
    /// If the weights are not those of the model, naming the first that is missing or too many; if the recipe keeps
    /// other weights than the last; those of the disk.
    pub fn end_with(mut self, weights: &BTreeMap<String, Tensor>, spent: Spent) -> Result<Report> {
        if let Some(report) = self.reported()? {
            return Ok(report);
        }
        if self.recipe.evaluation.keep != Keep::Last {
            bail!("weights from elsewhere have one step only: evaluation.keep must be \"last\"");
        }
        let params = &self.assembled.trainer.model.params;
        for param in params.iter() {
            let Some(values) = weights.get(param.name()) else {
                bail!("no weights for the parameter `{}`", param.name())
            };
            if values.elem_count() != param.layout().len() {
                let (found, expected) = (values.elem_count(), param.layout().len());
                bail!("{found} weights for the parameter `{}`, which has {expected}", param.name());
            }
            let values = values.to_dtype(params.dtype())?.to_device(params.device())?;
            param.var().set(&values.reshape(param.tensor().shape())?)?;
        }
        if let Some(unknown) = weights.keys().find(|name| params.get(name).is_none()) {
            bail!("weights for `{unknown}`, which is no parameter of the model");
        }
        self.state.step = self.phases.iter().map(|phase| phase.steps).sum();
        (self.state.phase, self.state.phase_step) = (self.phases.len(), 0);
        (self.state.seconds, self.state.cpu_seconds, self.state.tokens) =
            (spent.seconds, spent.cpu_seconds, spent.tokens);
        self.enter(self.phases.len())?;
        self.save(LAST)?;
        Ok(self.finish()?.0)
    }
}
