//! Evaluation on dev during training, and the beginning of phases.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cpu_time::ProcessTime;
use mtl_data::Dataset;
use mtl_sharing::Phase;
use mtl_task::TaskId;

use super::{EvaluationPoint, Run, log};
use crate::dev::{Dev, DevSplits};
use crate::evaluate::train_sample;
use crate::observer::Observer;
use crate::recipe::Keep;

impl Run {
    /// Whether `phase` has no step left.
    pub(super) fn is_over(&self, phase: &Phase) -> bool {
        self.state.phase_step + self.state.phase_charged >= phase.steps
    }

    /// Looks at dev where that became due in the steps of `phase` after its `since`-th; answers whether to stop.
    pub(super) fn look(
        &mut self,
        phase: &Phase,
        since: usize,
        log: &mut log::Log,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let every = self.recipe.evaluation.every;
        let last = self.is_over(phase);
        let final_phase = self.state.phase + 1 == self.phases.len();
        let due = every > 0 && self.state.phase_step / every > since / every;
        if !final_phase || !(last || due) {
            return Ok(false);
        }
        let look = self.scores()?;
        // A checkpoint never knows of a step that the metrics do not.
        log.flush()?;
        let scores = self.named(&look.dev);
        self.state.evaluations.push(look);
        if self.recipe.evaluation.keep_evaluations {
            self.save(&format!("step-{}", self.state.step))?;
        }
        if self.recipe.evaluation.keep == Keep::Each {
            self.keep_each()?;
            self.let_go(observer);
        }
        let mean = self.chosen_by(&scores);
        let better = self.state.best.is_none_or(|(best, _)| mean > best);
        observer.evaluated(self.state.step, &scores, better);
        if better {
            self.state.best = Some((mean, self.state.step));
            self.state.stale = 0;
            self.save("best")?;
        } else {
            self.state.stale += 1;
        }
        Ok(self.out_of_patience())
    }

    /// What a step is chosen by: the mean of `scores` over the tasks whose labels are not spoilt; over all where each is.
    fn chosen_by(&self, scores: &BTreeMap<String, f64>) -> f64 {
        let sound = |name: &String| !self.recipe.control.spoils(name);
        let all = !scores.keys().any(sound);
        let counted: Vec<f64> = scores.iter().filter(|(name, _)| all || sound(name)).map(|(_, score)| *score).collect();
        counted.iter().sum::<f64>() / counted.len().max(1) as f64
    }

    /// Whether nothing is to be gained: too many evaluations without a better mean, or no task left.
    pub(super) fn out_of_patience(&self) -> bool {
        let patience = self.recipe.evaluation.patience;
        patience > 0 && self.state.stale >= patience || self.all_have_left()
    }

    /// Headline scores now, task by task; of a task that has left the training those of the weights that it keeps.
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
        let kept = |scores: Option<&Vec<f64>>, task: usize| -> Option<f64> {
            scores.filter(|_| trainer.left().contains(&TaskId(task))).and_then(|scores| scores.get(task)).copied()
        };
        let score = |examples: &[mtl_data::Example], task: usize| {
            let name = &assembled.datasets[task].name;
            let score = dev.score_on(examples, model.sharing.as_ref(), TaskId(task));
            let score = score.with_context(|| format!("step {}: task `{name}`", self.state.step))?;
            // What compares to nothing cannot be the best, and has no place in a checkpoint.
            ensure!(score.is_finite(), "step {}: the headline score of task `{name}` is {score}", self.state.step);
            Ok(score)
        };
        let on_dev = |(task, data): (usize, &Dataset)| match kept(Some(&self.state.bests), task) {
            Some(score) => Ok(score),
            None => score(&data.dev.examples, task),
        };
        let before = self.state.evaluations.last().map(|look| &look.train);
        let on_train = |(task, data): (usize, &Dataset)| match kept(before, task) {
            Some(score) => Ok(score),
            None => score(&train_sample(data), task),
        };
        let on_dev = tasks().map(on_dev).collect::<Result<_>>()?;
        let train = match self.recipe.evaluation.train_curve {
            true => tasks().map(on_train).collect::<Result<_>>()?,
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
