//! A training's whole state in memory: what races start from, and what their winner leaves.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use candle_core::Tensor;
use mtl_sharing::{Race, Ruling, Standings, Structure};
use mtl_task::TaskId;
use serde_json::Value;

use crate::dev::{Dev, DevSplits};
use crate::step::Trainer;

/// All that a checkpoint keeps of a trainer, in memory of its own.
pub(crate) struct Captured {
    structure: Structure,
    weights: BTreeMap<String, Tensor>,
    optimizer: BTreeMap<String, Tensor>,
    sharing: BTreeMap<String, Tensor>,
    rules: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    known: Vec<Option<f64>>,
}

impl Trainer {
    /// The state now.
    pub(crate) fn capture(&self) -> Result<Captured> {
        Ok(Captured {
            structure: self.model.structure(),
            weights: self.model.params.tensors()?.into_iter().collect(),
            optimizer: self.optimizer.state()?,
            sharing: self.model.sharing.state()?,
            rules: self.groups.iter().map(|group| (group.label.clone(), group.rule.state())).collect(),
            known: self.known.clone(),
        })
    }

    /// Goes back to `then`, a state of this training in its `phase`-th phase, bit for bit.
    pub(crate) fn put_back(&mut self, then: &Captured, phase: usize) -> Result<()> {
        self.restructure(&then.structure)?;
        self.model.params.assign(&then.weights)?;
        self.model.sharing.restore(&then.sharing, phase)?;
        self.optimizer.restore(&then.optimizer)?;
        self.known.clone_from(&then.known);
        for group in &mut self.groups {
            let state = then.rules.get(&group.label).with_context(|| format!("no state of rule `{}`", group.label))?;
            group.rule.restore(state).map_err(|error| anyhow!("{error}"))?;
        }
        Ok(())
    }

    /// The race that the strategy asks for before the next step.
    pub(crate) fn race_due(&mut self) -> Result<Option<Race>> {
        let Some(racing) = self.model.sharing.racing() else { return Ok(None) };
        Ok(racing.due(&self.budget)?)
    }

    /// Makes the model what `arm` of `race` is; returns the number of examples that this scored.
    pub(crate) fn set_off(&mut self, race: &Race, arm: usize, dev: &DevSplits) -> Result<usize> {
        let scored = self.changing(dev, |sharing, change, held_out, _| match sharing.racing() {
            Some(racing) => racing.set_off(race, arm, change, held_out),
            None => Ok(0),
        })?;
        Ok(scored)
    }

    /// The losses on dev, task by task, of at most `most` examples of each.
    pub(crate) fn sampled_losses(&mut self, most: usize, dev: &DevSplits) -> Result<Vec<Vec<f64>>> {
        let tasks = self.model.tasks.len();
        rayon::scope(|_| {
            let held_out = Dev {
                splits: dev,
                heads: &self.model.heads,
                tasks: &self.tasks,
                metrics: &self.recipe.registries.metrics,
                device: self.model.params.device(),
            };
            let sharing = self.model.sharing.as_ref();
            (0..tasks).map(|task| held_out.losses_sampled(sharing, TaskId(task), most)).collect()
        })
    }

    /// Who of `race` runs on.
    pub(crate) fn judge(&mut self, race: &Race, standings: &Standings) -> Result<Ruling> {
        let racing = self.model.sharing.racing().context("a race of a strategy that has none")?;
        Ok(racing.judge(race, standings)?)
    }

    /// Tells the strategy, whose model is what the winner came to, that `race` is over.
    pub(crate) fn conclude(&mut self, race: &Race, rulings: &[Ruling], charged: usize) -> Result<Value> {
        let budget = self.budget.clone();
        let racing = self.model.sharing.racing().context("a race of a strategy that has none")?;
        Ok(racing.conclude(race, rulings, charged, &budget)?)
    }
}
