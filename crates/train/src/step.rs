//! One training step: reads like the papers' algorithm, and is the same for every rule and strategy.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use mtl_backbone::{BufferPool, Pass, TaskGradient, gather, scalar};
use mtl_nash::{Gram, Status};
use mtl_sharing::{Budget, Model, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Likelihood, Progress, Task, TaskBatch, TaskId};
use mtl_weighting::{Class, Private, StepInputs};

use crate::dev::DevSplits;
use crate::finite::Diverged;
use crate::gradients::{grams, squared_norm, tables_of, total};
use crate::groups::{Decision, StepGradients, WeightingGroup, private_weights};
use crate::optim::{Optimizer, Pace, WeightedSum};
use crate::recipe::Recipe;
use crate::structure::UpdateLayout;

/// Everything that a step changes.
pub struct Trainer {
    /// The model.
    pub model: Model,
    pub(crate) tasks: Vec<Box<dyn Task>>,
    pub(crate) groups: Vec<WeightingGroup>,
    pub(crate) optimizer: Box<dyn Optimizer>,
    /// The last loss of each task, for steps that leave tasks out.
    pub(crate) known: Vec<Option<f64>>,
    pub(crate) private: Private,
    clip: f64,
    /// What each task's loss is multiplied by.
    loss_weights: Vec<f64>,
    pub(crate) accumulate: usize,
    key: Key,
    /// Memory of past steps' gradients.
    pub(crate) pool: BufferPool,
    pub(crate) class: Class,
    pub(crate) recipe: Recipe,
    pub(crate) layout: UpdateLayout,
    /// The tasks that have left the training.
    pub(crate) left: BTreeSet<TaskId>,
    /// Whether the structure changed since gradients were last seen to reach every parameter.
    pub(crate) audit_due: bool,
    /// What the training may cost, and what was spent.
    pub(crate) budget: Budget,
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// The tasks that took part.
    pub tasks: Vec<usize>,
    /// Their losses.
    pub losses: Vec<f64>,
    /// Their weights on the shared parameters, clipping applied; those of the first decision if there are several,
    /// and empty for a rule that has none.
    pub weights: Vec<f64>,
    /// The norms of their gradients on the shared parameters; empty, as the cosines, if the step kept the gradient of the
    /// weighted sum of the losses alone.
    pub norms: Vec<f64>,
    /// The cosines between those, pair after pair: (1,0), (2,0), (2,1), …
    pub cosines: Vec<f64>,
    /// How each decision ended, and how exact it is.
    pub outcomes: Vec<(String, f64)>,
    /// Warnings of the rule.
    pub warnings: Vec<String>,
    /// Tasks that have left the training.
    pub left: Vec<usize>,
    /// Norm of the combined gradient before clipping.
    pub gradient_norm: f64,
    /// Tokens that carried text.
    pub tokens: usize,
    /// What the strategy tells of the step beside its figures, such as a change of the structure and why.
    pub events: Vec<serde_json::Value>,
}

/// Each task's loss and gradient.
struct Seen {
    losses: Vec<f64>,
    rows: Vec<TaskGradient>,
}

impl Trainer {
    /// A trainer of `model` on `tasks` as `recipe` says.
    ///
    /// # Errors
    /// If the recipe's rule or optimizer cannot be built.
    pub fn new(recipe: &Recipe, model: Model, tasks: Vec<Box<dyn Task>>) -> Result<Self> {
        let optimizer = (recipe.registries.optimizers.find(&recipe.optimizer.name)?.build)(&recipe.optimizer.settings)?;
        let weight = |shape: &TaskShape| recipe.task(&shape.name).loss_weight.unwrap_or(1.);
        let loss_weights = model.tasks.iter().map(weight).collect();
        let mut trainer = Self {
            loss_weights,
            layout: UpdateLayout::default(),
            known: vec![None; tasks.len()],
            model,
            tasks,
            groups: Vec::new(),
            optimizer,
            private: recipe.private,
            clip: recipe.train.clip,
            accumulate: recipe.train.accumulate,
            key: Key::new(recipe.train.seed),
            pool: BufferPool::default(),
            class: recipe.registries.rules.find(&recipe.weighting.name)?.class,
            recipe: recipe.clone(),
            left: BTreeSet::new(),
            audit_due: false,
            budget: Budget::default(),
        };
        trainer.regroup()?;
        Ok(trainer)
    }

    /// Number of values in the buffers that are kept for later steps' gradients.
    pub fn pooled_values(&self) -> usize {
        self.pool.values()
    }

    /// How many independent batches of every task a step wants.
    pub fn mini_batches(&self) -> usize {
        self.groups.iter().map(|group| group.rule.needs().mini_batches).max().unwrap_or(1)
    }

    /// Whether the last of those comes from a held-out part of the training data.
    pub fn validates(&self) -> bool {
        self.groups.iter().any(|group| group.rule.needs().validation_batch)
    }

    /// One step on `mini_batches` (one [`TaskBatch`] per task each; the first is the one that is learnt), at learning
    /// rate `rate`. `progress` counts over the whole run; `dev` is what a strategy may score itself on.
    ///
    /// # Errors
    /// If a loss or gradient is not finite (naming step and task), or those of candle.
    pub fn step(
        &mut self,
        mini_batches: &[Vec<TaskBatch>],
        progress: Progress,
        rate: f64,
        dev: &DevSplits,
    ) -> Result<StepReport> {
        // From outside the pool every parallel loop would put this thread to sleep and wake another one for it.
        rayon::scope(|_| self.step_within(mini_batches, progress, rate, dev))
    }

    fn step_within(
        &mut self,
        mini_batches: &[Vec<TaskBatch>],
        progress: Progress,
        rate: f64,
        dev: &DevSplits,
    ) -> Result<StepReport> {
        let mini_batches = &*self.learnable(mini_batches);
        if mini_batches.first().is_some_and(Vec::is_empty) {
            bail!(
                "step {}: no text of its batches has a word to learn from; raise train.batch, or remove the texts without \
                 words",
                progress.step
            );
        }
        let learnt = mini_batches.first().context("a step without a batch")?;
        let (mut report, grams, tables) = if self.keeps_each_gradient(progress.step) {
            let seen: Vec<Seen> = mini_batches
                .iter()
                .enumerate()
                .map(|(draw, batches)| self.differentiate(batches, progress.step, draw))
                .collect::<Result<_>>()?;
            let (report, grams) = self.descend(learnt, &seen, progress, rate)?;
            let first = seen.first().filter(|_| self.model.sharing.reads_tables());
            let tables = first.map_or_else(Vec::new, |first| first.rows.iter().map(tables_of).collect());
            self.pool.keep(seen.into_iter().flat_map(|seen| seen.rows));
            (report, grams, tables)
        } else {
            (self.descend_by_sum(learnt, progress, rate)?, BTreeMap::new(), Vec::new())
        };
        report.events = self.adapt((&grams, &tables), learnt, progress, rate, dev)?;
        if self.groups.iter().any(|group| group.rule.needs().losses_after_step) {
            let after = self.losses(learnt, progress.step)?;
            let losses = self.losses_of_all_tasks(learnt, &after);
            let present: Vec<TaskId> = learnt.iter().map(|batch| batch.task).collect();
            self.groups.iter_mut().try_for_each(|group| group.losses_after_step(&present, &losses))?;
        }
        report.left = self.left.iter().map(|task| task.0).collect();
        report.tokens = learnt.iter().map(|batch| batch.tokens.real_tokens()).sum();
        Ok(report)
    }

    /// The gradient of every task on its own, for the audit before the first step.
    ///
    /// # Errors
    /// Those of candle.
    pub fn gradients(&self, batches: &[TaskBatch]) -> Result<Vec<TaskGradient>> {
        Ok(self.differentiate(batches, 0, 0)?.rows)
    }

    /// Each task's gradient on `batches`, for measurements: as a step's draw number `draw` would see it.
    pub(crate) fn probe(&self, batches: &[TaskBatch], step: usize, draw: usize) -> Result<Vec<TaskGradient>> {
        Ok(self.differentiate(batches, step, draw)?.rows)
    }

    /// Forward, loss and backward of every task, one graph alive at a time.
    fn differentiate(&self, batches: &[TaskBatch], step: usize, draw: usize) -> Result<Seen> {
        let (mut losses, mut rows) = (Vec::new(), Vec::new());
        for batch in batches {
            let (mut loss, mut row) = (0., TaskGradient::default());
            for (index, (piece, share)) in self.pieces(batch).iter().enumerate() {
                let share = *share;
                let mut pass = self.pass(step, draw, batch.task, index);
                let value = self.loss(piece, step, &mut pass)?;
                loss += share * scalar(&value)?;
                let scaled = if share == 1. { value } else { (value * share)? };
                row.add(pass.backward(&scaled, &self.model.params)?);
            }
            self.refuse_infinite(step, batch.task, loss)?;
            losses.push(loss);
            rows.push(row);
        }
        Ok(Seen { losses, rows })
    }

    pub(crate) fn pass(&self, step: usize, draw: usize, task: TaskId, piece: usize) -> Pass {
        let key = self.key.named("pass").with(step as u64).with(draw as u64).with(task.0 as u64).with(piece as u64);
        Pass::training(key).reusing(&self.pool)
    }

    /// `loss` of `task`, times the weight that the recipe gives it.
    pub(crate) fn weighted(&self, task: TaskId, loss: candle_core::Tensor) -> Result<candle_core::Tensor> {
        Ok(match self.loss_weights.get(task.0).copied() {
            // No operation more than before there were weights.
            None | Some(1.) => loss,
            Some(weight) => (loss * weight)?,
        })
    }

    /// The losses of the same batches, by the same dropout, with the weights as they are now.
    pub(crate) fn losses(&self, batches: &[TaskBatch], step: usize) -> Result<Vec<f64>> {
        batches
            .iter()
            .map(|batch| {
                self.pieces(batch).iter().enumerate().try_fold(0., |sum, (index, (piece, share))| {
                    let mut pass = self.pass(step, 0, batch.task, index);
                    Ok(sum + share * scalar(&self.loss(piece, step, &mut pass)?)?)
                })
            })
            .collect()
    }

    /// A loss for every task: `losses` of the tasks of `batches`, and the last known one of those left out (before they
    /// had one, the mean of the others).
    pub(crate) fn losses_of_all_tasks(&self, batches: &[TaskBatch], losses: &[f64]) -> Vec<f64> {
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        let mut all: Vec<f64> = self.known.iter().map(|known| known.unwrap_or(mean)).collect();
        batches.iter().zip(losses).for_each(|(batch, &loss)| all[batch.task.0] = loss);
        all
    }

    /// Weighs the gradients and takes the step.
    fn descend(
        &mut self,
        batches: &[TaskBatch],
        seen: &[Seen],
        progress: Progress,
        rate: f64,
    ) -> Result<(StepReport, BTreeMap<String, Gram>)> {
        let tasks: Vec<TaskId> = batches.iter().map(|batch| batch.task).collect();
        let Some(first) = seen.first() else { bail!("a step without a batch") };
        batches.iter().zip(&first.losses).for_each(|(batch, &loss)| self.known[batch.task.0] = Some(loss));
        let (likelihood, losses) = (self.likelihood(), self.losses_of_all_tasks(batches, &first.losses));
        let inputs = StepInputs { losses: &losses, likelihood: &likelihood, progress, key: self.key_of(progress) };
        let shared: BTreeSet<String> = self.groups.iter().flat_map(|group| group.weighted.iter().cloned()).collect();
        let rows: Vec<&TaskGradient> = seen.iter().flat_map(|seen| &seen.rows).collect();
        let parts = grams(&rows, &shared);
        let lengths: BTreeMap<String, usize> = (shared.iter())
            .map(|name| (name.clone(), self.model.params.get(name).map_or(0, |param| param.layout().len())))
            .collect();
        let dtype = self.model.params.dtype();
        let gradients = StepGradients {
            tasks: &tasks,
            rows: &rows,
            mini_batches: seen.len(),
            parts: &parts,
            lengths: &lengths,
            dtype,
        };
        let decisions: Vec<Decision> =
            self.groups.iter_mut().map(|group| group.decide(&gradients, &inputs)).collect::<Result<_>>()?;
        for (decision, group) in decisions.iter().zip(&self.groups) {
            if let Status::NonFinite(task) = decision.outcome.status {
                let task = group.meant(task);
                let name = &self.model.tasks[task.0].name;
                let what = format!("step {}: the gradient of task `{name}` is not finite", progress.step);
                return Err(Diverged::of(task, what));
            }
        }
        let penalty = self.penalty()?;
        let private = private_weights(self.private, self.class, &decisions, tasks.len());
        let mut blends: BTreeMap<&str, WeightedSum> = BTreeMap::new();
        for (task, row) in first.rows.iter().enumerate() {
            for (name, segment) in &row.0 {
                let weight = match self.layout.decisions.get(name) {
                    None => private[task],
                    Some(&at) if decisions[at].direction.is_some() => continue,
                    Some(&at) => decisions[at].weight(task, false).unwrap_or(1.),
                };
                if weight != 0. {
                    blends.entry(name).or_default().0.push((weight, segment));
                } else {
                    blends.entry(name).or_default();
                }
            }
        }
        let directions = decisions.iter().filter_map(|decision| decision.direction.as_ref());
        for row in directions.chain([&penalty]) {
            row.0.iter().for_each(|(name, segment)| blends.entry(name).or_default().0.push((1., segment)));
        }
        let norm = self.update(blends, &tasks, progress.step, rate)?;
        let gram = total(rows.len(), parts.values());
        Ok((report(&tasks, &first.losses, Some(&gram), &decisions, norm), parts))
    }

    /// Clips the combined gradient and gives it to the optimizer, parameter by parameter, in a step of `tasks` at learning
    /// rate `rate`; returns its norm before clipping.
    pub(crate) fn update(
        &mut self,
        mut blends: BTreeMap<&str, WeightedSum>,
        tasks: &[TaskId],
        step: usize,
        rate: f64,
    ) -> Result<f64> {
        self.hold_still(&mut blends);
        let mut squares = vec![0.; self.tasks.len().max(1)];
        blends.iter().for_each(|(name, blend)| squares[self.layout.component(name)] += squared_norm(blend));
        let norm = squares.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(Diverged::everywhere(format!("step {step}: the combined gradient is not finite")));
        }
        for (name, mut blend) in blends {
            let param = self.model.params.get(name).with_context(|| format!("no parameter `{name}`"))?;
            let norm = squares[self.layout.component(name)].sqrt();
            let factor = if self.clip > 0. && norm > self.clip { self.clip / norm } else { 1. };
            blend.0.iter_mut().for_each(|(weight, _)| *weight *= factor);
            let mask = self.model.sharing.update_mask(name, tasks);
            self.optimizer.step(param, &blend, Pace { mask: mask.as_deref(), ..self.layout.pace(name, rate) })?;
        }
        Ok(norm)
    }

    /// The noise model behind each task's loss.
    pub(crate) fn likelihood(&self) -> Vec<Likelihood> {
        self.tasks.iter().map(|task| task.likelihood()).collect()
    }

    /// The stream of weighting rules that draw.
    pub(crate) fn key_of(&self, progress: Progress) -> Key {
        self.key.named("weighting").with(progress.step as u64)
    }

    /// The gradient of the strategy's own penalty.
    pub(crate) fn penalty(&self) -> Result<TaskGradient> {
        let mut row = TaskGradient::default();
        if let Some(penalty) = self.model.sharing.penalty()? {
            gather(&self.model.params, &penalty.backward()?, &mut row)?;
        }
        Ok(row)
    }
}

/// `gram` of the task gradients, if they were kept.
pub(crate) fn report(
    tasks: &[TaskId],
    losses: &[f64],
    gram: Option<&Gram>,
    decisions: &[Decision],
    norm: f64,
) -> StepReport {
    let count = tasks.len();
    let pairs = (0..count).flat_map(|i| (0..i).map(move |j| (i, j)));
    let norms = |gram: &Gram| (0..count).map(|task| gram.norm(task)).collect();
    let cosines = |gram: &Gram| pairs.map(|(i, j)| gram.cosine(i, j)).collect();
    StepReport {
        tasks: tasks.iter().map(|task| task.0).collect(),
        losses: losses.to_vec(),
        weights: decisions.first().map_or_else(Vec::new, |decision| decision.outcome.weights.clone()),
        norms: gram.map(norms).unwrap_or_default(),
        cosines: gram.map(cosines).unwrap_or_default(),
        outcomes: decisions.iter().map(|d| (d.outcome.status.to_string(), d.outcome.residual)).collect(),
        warnings: decisions.iter().filter_map(|d| d.outcome.warning.map(|w| w.to_string())).collect(),
        gradient_norm: norm,
        ..StepReport::default()
    }
}
