//! A step of a rule over losses that keeps no task's gradient: one buffer takes in the gradient of Σ wᵢLᵢ.
//!
//! The weights of most such rules are known before the losses of the step; each loss is then differentiated as soon as it
//! is there. Where they are not (famo, gls, scale-invariant, stch), every task's graph is kept until all losses are.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use mtl_backbone::{GradientSum, Pass, scalar};
use mtl_nash::Status;
use mtl_task::{Progress, TaskBatch, TaskId};
use mtl_weighting::{Class, Private, StepInputs};

use crate::finite::Diverged;
use crate::groups::Decision;
use crate::optim::WeightedSum;
use crate::step::{StepReport, Trainer, report};

/// A loss that is not differentiated yet: its task's place in the step, its pass, and its share of the task's loss.
struct Pending {
    place: usize,
    pass: Pass,
    value: Tensor,
    share: f64,
}

impl Trainer {
    /// Whether step `step` keeps each task's gradient: for its rule, its log, or its strategy.
    pub(crate) fn keeps_each_gradient(&self, step: usize) -> bool {
        let logged = match self.recipe.train.log_gradients {
            0 => false,
            every => step.is_multiple_of(every),
        };
        logged || self.needs_each_gradient()
    }

    /// Whether every step keeps each task's gradient, whatever is logged.
    pub(crate) fn needs_each_gradient(&self) -> bool {
        // Heads that are weighted otherwise than what is shared have another sum.
        let apart = matches!(self.private, Private::Own | Private::Normalised);
        let strategy = self.model.sharing.as_ref();
        self.class != Class::Losses
            || apart
            || self.mini_batches() > 1
            || strategy.reads_grams()
            || strategy.reads_tables()
    }

    /// Takes a step on `batches` against the gradient of the weighted sum of their losses.
    pub(crate) fn descend_by_sum(
        &mut self,
        batches: &[TaskBatch],
        progress: Progress,
        rate: f64,
    ) -> Result<StepReport> {
        let tasks: Vec<TaskId> = batches.iter().map(|batch| batch.task).collect();
        let (likelihood, key) = (self.likelihood(), self.key_of(progress));
        let nothing = vec![1.; self.tasks.len()];
        let unseen = StepInputs { losses: &nothing, likelihood: &likelihood, progress, key };
        // A rule over losses decides once, for all tasks.
        let group = self.groups.first_mut().context("a step without a rule")?;
        let foreseen = group.foreseen(&tasks, &unseen)?;

        let (sum, mut pending) = (GradientSum::default(), Vec::new());
        let mut losses = Vec::with_capacity(batches.len());
        for (place, batch) in batches.iter().enumerate() {
            let mut loss = 0.;
            for (index, (piece, share)) in self.pieces(batch).into_iter().enumerate() {
                let mut pass = self.pass(progress.step, 0, batch.task, index).summing(&sum);
                let value = self.loss(&piece, progress.step, &mut pass)?;
                loss += share * scalar(&value)?;
                let one = Pending { place, pass, value, share };
                match &foreseen {
                    Some(weights) => self.differentiate_pending(one, weights[place])?,
                    None => pending.push(one),
                }
            }
            self.refuse_infinite(progress.step, batch.task, loss)?;
            losses.push(loss);
        }

        batches.iter().zip(&losses).for_each(|(batch, &loss)| self.known[batch.task.0] = Some(loss));
        let all = self.losses_of_all_tasks(batches, &losses);
        let inputs = StepInputs { losses: &all, likelihood: &likelihood, progress, key };
        let group = self.groups.first_mut().context("a step without a rule")?;
        let decision = group.weigh(&tasks, &inputs)?;
        if let Status::NonFinite(at) = decision.outcome.status {
            let task = group.meant(at);
            let name = &self.model.tasks[task.0].name;
            let what = format!("step {}: the weight of task `{name}` is not finite", progress.step);
            return Err(Diverged::of(task, what));
        }
        let weights: Vec<f64> = (0..tasks.len()).map(|place| decision.weight(place, false).unwrap_or(1.)).collect();
        if let Some(foreseen) = foreseen.filter(|foreseen| *foreseen != weights) {
            bail!(
                "rule `{}` says that its weights precede the losses, but gave {foreseen:?} before and {weights:?} after",
                self.recipe.weighting.name
            );
        }
        for one in pending {
            let weight = weights[one.place];
            self.differentiate_pending(one, weight)?;
        }
        self.descend_along(&sum, &tasks, &losses, decision, progress, rate)
    }

    /// Adds the gradient of `weight` times a loss to the sum that its pass gathers in.
    fn differentiate_pending(&self, one: Pending, weight: f64) -> Result<()> {
        let factor = weight * one.share;
        let scaled = if factor == 1. { one.value } else { (one.value * factor)? };
        Ok(one.pass.backward_into_sum(&scaled, &self.model.params)?)
    }

    /// Takes the step against what `sum` holds and the strategy's penalty.
    fn descend_along(
        &mut self,
        sum: &GradientSum,
        tasks: &[TaskId],
        losses: &[f64],
        decision: Decision,
        progress: Progress,
        rate: f64,
    ) -> Result<StepReport> {
        let (gradient, penalty) = (sum.take(), self.penalty()?);
        let mut blends: BTreeMap<&str, WeightedSum> = BTreeMap::new();
        for row in [&gradient, &penalty] {
            row.0.iter().for_each(|(name, block)| blends.entry(name).or_default().0.push((1., block)));
        }
        let norm = self.update(blends, tasks, progress.step, rate)?;
        self.pool.keep([gradient]);
        Ok(report(tasks, losses, None, &[decision], norm))
    }
}
