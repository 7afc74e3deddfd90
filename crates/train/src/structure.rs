//! What a training works out from the topology of its model, and how it takes on a new one.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use candle_core::Tensor;
use mtl_backbone::TaskGradient;
use mtl_nash::Gram;
use mtl_sharing::{Budget, Change, DevScores, Model, Sharing, StepView, Structure};
use mtl_task::{Progress, TaskBatch, TaskId};
use serde_json::Value;

use crate::dev::{Dev, DevSplits};
use crate::groups::WeightingGroup;
use crate::optim::Pace;
use crate::recipe::Recipe;
use crate::step::Trainer;

/// What the optimizer's step reads off the topology; worked out again when that changes.
#[derive(Default)]
pub(crate) struct UpdateLayout {
    /// What the base learning rate is multiplied by, and the weight decay if it is not the optimizer's, by parameter.
    paces: BTreeMap<String, (f64, Option<f64>)>,
    /// Which parameters are clipped by a common norm: those of tasks that share any, so that tasks which share none are
    /// clipped as they would be in runs of their own, see [`Topology::components`](mtl_sharing::Topology::components).
    components: BTreeMap<String, usize>,
    /// Which decision weighs a parameter.
    pub(crate) decisions: BTreeMap<String, usize>,
}

impl UpdateLayout {
    fn of(recipe: &Recipe, model: &Model, groups: &[WeightingGroup]) -> Result<Self> {
        let components = model.topology.components();
        let component = |name: &str| {
            let first = model.topology.trained_by(name)?.iter().next()?;
            components.iter().position(|tasks| tasks.contains(first))
        };
        let names = model.topology.iter().map(|(name, _)| name);
        let decided = |(at, group): (usize, &WeightingGroup)| -> Vec<(String, usize)> {
            group.weighted.iter().map(|name| (name.clone(), at)).collect()
        };
        Ok(Self {
            paces: paces(recipe, model)?,
            components: names.filter_map(|name| Some((name.to_string(), component(name)?))).collect(),
            decisions: groups.iter().enumerate().flat_map(decided).collect(),
        })
    }

    /// How far a step of base learning rate `base` moves the parameter called `name`.
    pub(crate) fn pace(&self, name: &str, base: f64) -> Pace<'static> {
        let (factor, weight_decay) = self.paces.get(name).copied().unwrap_or((1., None));
        Pace { rate: base * factor, weight_decay, mask: None }
    }

    /// Parameters of the same component are clipped by their common norm.
    pub(crate) fn component(&self, name: &str) -> usize {
        self.components.get(name).copied().unwrap_or(0)
    }
}

/// What the base rate is multiplied by for each parameter that is trained, and its weight decay: by its role, and by the
/// task that alone trains it.
fn paces(recipe: &Recipe, model: &Model) -> Result<BTreeMap<String, (f64, Option<f64>)>> {
    let base = recipe.base_rate()?;
    let mut of_task = vec![base; model.tasks.len()];
    for (name, rate) in &recipe.task_rates {
        let names = || model.tasks.iter().map(|task| task.name.as_str());
        let Some(task) = names().position(|known| known == name) else {
            let known: Vec<&str> = names().collect();
            let nearest = mtl_task::nearest(name, names());
            bail!("[optimizer] task_rates: no task `{name}`{nearest}; there are {}", known.join(", "))
        };
        of_task[task] = *rate;
    }
    for (rate, shape) in of_task.iter_mut().zip(&model.tasks) {
        *rate = recipe.task(&shape.name).learning_rate.unwrap_or(*rate);
    }
    let pace = |name: &str| {
        let (group, owner) = (recipe.group(model.topology.role_of(name)), model.topology.trained_by(name)?);
        let own = owner.only().map_or(base, |task| of_task[task.0]);
        // A base rate of 0 holds still what is a multiple of it.
        let factor = if base == 0. { 0. } else { group.rate(own) / base };
        Some((name.to_string(), (factor, group.weight_decay)))
    };
    Ok(model.topology.iter().filter_map(|(name, _)| pace(name)).collect())
}

impl Trainer {
    /// Works out again what follows from the topology.
    pub(crate) fn regroup(&mut self) -> Result<()> {
        let before = std::mem::take(&mut self.groups);
        self.groups = WeightingGroup::all(&self.recipe, &self.model, before)?;
        self.groups.iter_mut().for_each(|group| group.go_on_without(&self.left));
        self.layout = UpdateLayout::of(&self.recipe, &self.model, &self.groups)?;
        Ok(())
    }

    /// Takes on a structure that a checkpoint kept, before its weights are read.
    pub(crate) fn restructure(&mut self, saved: &Structure) -> Result<()> {
        let before = self.model.topology.clone();
        self.model.restructure(saved)?;
        if self.model.topology != before {
            self.regroup()?;
        }
        Ok(())
    }

    /// Lets the strategy change itself after a step on `batches`, and takes on what it made of the structure. Returns what
    /// the metrics are to tell of it.
    pub(crate) fn adapt(
        &mut self,
        (grams, tables): (&BTreeMap<String, Gram>, &[TaskGradient]),
        batches: &[TaskBatch],
        progress: Progress,
        learning_rate: f64,
        dev: &DevSplits,
    ) -> Result<Vec<Value>> {
        let tasks: Vec<TaskId> = batches.iter().map(|batch| batch.task).collect();
        self.budget.steps = progress.step + 1;
        if self.budget.of == 0 {
            self.budget.of = progress.of;
        }
        let mut events = Vec::new();
        self.changing(dev, |sharing, change, held_out, budget| {
            let events = &mut events;
            let mut view = StepView { tasks: &tasks, grams, tables, progress, learning_rate, budget, events, held_out };
            sharing.adapt(change, &mut view)
        })?;
        Ok(events)
    }

    /// Lets `by` change the model, and takes on what it made of the structure.
    pub(crate) fn changing<T>(
        &mut self,
        dev: &DevSplits,
        by: impl FnOnce(&mut dyn Sharing, &mut Change, &mut dyn DevScores, &mut Budget) -> candle_core::Result<T>,
    ) -> Result<T> {
        let Model { params, topology, sharing, heads, .. } = &mut self.model;
        let (before, device) = (topology.version(), params.device().clone());
        let metrics = &self.recipe.registries.metrics;
        let mut held_out = Dev { splits: dev, heads, tasks: &self.tasks, metrics, device: &device };
        let mut change = Change::new(params, topology, self.optimizer.as_mut());
        let made = by(sharing.as_mut(), &mut change, &mut held_out, &mut self.budget)?;
        if self.model.topology.version() != before {
            self.regroup()?;
            self.audit_due = true;
        }
        Ok(made)
    }

    /// Tells the strategy that a phase begins, or, with the number of phases, that training is over.
    pub(crate) fn enter(&mut self, phase: usize, dev: &DevSplits) -> Result<()> {
        let Model { params, sharing, heads, .. } = &mut self.model;
        let device = params.device().clone();
        let metrics = &self.recipe.registries.metrics;
        Ok(sharing.enter(phase, &mut Dev { splits: dev, heads, tasks: &self.tasks, metrics, device: &device })?)
    }

    /// What the optimizer remembers, as named tensors.
    ///
    /// # Errors
    /// Those of candle.
    pub fn optimizer_state(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.optimizer.state()?)
    }

    /// Lets the optimizer continue from what another one remembered.
    ///
    /// # Errors
    /// If it is not a state of this optimizer.
    pub fn restore_optimizer(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        Ok(self.optimizer.restore(state)?)
    }
}
