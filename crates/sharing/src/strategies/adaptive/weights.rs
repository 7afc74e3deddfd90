//! The parameters behind a structure: one vector for each group and part, and what each task sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Params, Part};
use mtl_task::TaskId;

use super::bands::{BANDS, Bands};
use super::clues::Clues;
use crate::blocks::values::copied;
use crate::context::together;
use crate::{BuildContext, Change, EncoderWeights, TaskSet};

/// What a task has of its own after its group's vectors were kept as they were.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) enum Own {
    /// It trains on from there.
    Training,
    /// It came to own what is so far from the group's towards what it trained, in [0, 1]; at 0 it reads the group's.
    Mixed(f64),
}

/// All of them.
pub(super) struct Weights {
    encoder: Arc<Family>,
    names: Vec<String>,
    /// Layers of the lower band.
    lower: usize,
    /// Every parameter by its name.
    known: BTreeMap<String, Param>,
    /// What each task sees.
    seen: Vec<EncoderWeights>,
}

/// A part that groups came to share: its parameter, what it was in the first, and the mean of what it was in the others.
pub(super) struct Joined {
    pub(super) param: Param,
    pub(super) first: Tensor,
    pub(super) second: Tensor,
    /// How many others.
    pub(super) others: usize,
}

impl Weights {
    /// Puts the pretrained encoder into the model, once for each group of each band.
    pub(super) fn insert(context: &mut BuildContext, bands: &Bands, lower: usize) -> Result<Self> {
        let names = context.tasks.iter().map(|task| task.name.clone()).collect();
        let encoder = context.encoder.clone();
        let mut weights = Self { encoder, names, lower, known: BTreeMap::new(), seen: Vec::new() };
        for part in Part::all(weights.encoder.layers()) {
            for group in &bands.0[weights.band(part)].groups {
                let scope = context.together(group);
                let param = context.insert_part(&scope, part)?;
                weights.known.insert(param.name().to_string(), param);
            }
        }
        weights.resolve(bands, &BTreeMap::new())?;
        Ok(weights)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn encoder(&self) -> &Family {
        &self.encoder
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        Part::all(self.encoder.layers())
    }

    /// The band of `part`.
    pub(super) fn band(&self, part: Part) -> usize {
        match part {
            Part::Words | Part::Embeddings => 0,
            Part::Layer(index) if index < self.lower => 1,
            Part::Layer(_) => 2,
        }
    }

    /// The band of the part called so.
    pub(super) fn band_named(&self, name: &str) -> usize {
        self.parts().find(|part| part.to_string() == name).map_or(0, |part| self.band(part))
    }

    /// The share of an encoder's values that each band has.
    pub(super) fn shares(&self) -> Vec<f64> {
        let mut values = vec![0.; BANDS.len()];
        if let Some(seen) = self.seen.first() {
            self.parts().for_each(|part| values[self.band(part)] += seen.part(part).layout().len() as f64);
        }
        let all: f64 = values.iter().sum();
        values.iter().map(|value| value / all.max(1.)).collect()
    }

    /// What `task` sees.
    pub(super) fn of(&self, task: TaskId) -> &EncoderWeights {
        &self.seen[task.0]
    }

    /// The first task that sees the same as `task`.
    pub(super) fn alike(&self, task: TaskId) -> usize {
        let same = |other: &EncoderWeights| other.iter().zip(self.of(task).iter()).all(|(a, b)| a.name() == b.name());
        self.seen.iter().position(same).unwrap_or(task.0)
    }

    fn name(&self, group: &TaskSet, part: Part) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        format!("{}/{part}", together(group, &names))
    }

    fn own(&self, task: TaskId, part: Part) -> String {
        self.name(&TaskSet::one(task), part)
    }

    fn kept(&self, group: &TaskSet, part: Part) -> String {
        format!("kept.{}", self.name(group, part))
    }

    /// The parameter of a group's part.
    pub(super) fn group(&self, group: &TaskSet, part: Part) -> Result<&Param> {
        self.find(&self.name(group, part))
    }

    fn find(&self, name: &str) -> Result<&Param> {
        match self.known.get(name) {
            Some(param) => Ok(param),
            None => candle_core::bail!("the structure needs a parameter `{name}`, which the model lacks"),
        }
    }

    /// Takes on the parameters of a model whose structure was restored.
    pub(super) fn take(&mut self, params: &Params) {
        self.known = params.iter().map(|param| (param.name().to_string(), param.clone())).collect();
    }

    /// Works out what each task sees.
    ///
    /// # Errors
    /// If a parameter is missing.
    pub(super) fn resolve(&mut self, bands: &Bands, own: &BTreeMap<usize, Own>) -> Result<()> {
        let mut seen = Vec::with_capacity(self.names.len());
        for task in (0..self.names.len()).map(TaskId) {
            let part = |part: Part| {
                let groups = bands.0.get(self.band(part)).map_or(&[][..], |band| &band.groups);
                let Some(group) = groups.iter().find(|group| group.contains(task)) else {
                    candle_core::bail!("task {} is in no group", task.0)
                };
                let name = match own.get(&task.0) {
                    None => self.name(group, part),
                    Some(Own::Mixed(mix)) if *mix == 0. => self.kept(group, part),
                    Some(Own::Training | Own::Mixed(_)) => self.own(task, part),
                };
                self.find(&name).cloned()
            };
            seen.push(EncoderWeights::of(self.encoder.layers(), part)?);
        }
        self.seen = seen;
        Ok(())
    }

    /// Makes the parameters of `from` those of `to`. A part of a group begins as its copy, with its share of both moments by
    /// `clues`; groups that become one begin as the first of them, with the sum of all moments, and are answered.
    pub(super) fn change(
        &mut self,
        (from, to): (&Bands, &Bands),
        clues: &Clues,
        change: &mut Change,
    ) -> Result<Vec<Joined>> {
        let mut joined = Vec::new();
        for part in self.parts() {
            let (old, new) = (&from.0[self.band(part)].groups, &to.0[self.band(part)].groups);
            for group in new.iter().filter(|group| !old.contains(group)) {
                let sources: Vec<&TaskSet> = old.iter().filter(|known| known.meets(group)).collect();
                let params: Vec<Param> =
                    sources.iter().map(|source| self.group(source, part).cloned()).collect::<Result<_>>()?;
                let (Some(first), Some(source)) = (params.first(), sources.first()) else {
                    candle_core::bail!("a group of no task that was there before")
                };
                let copy = change.fork(first, &self.name(group, part), group.clone())?;
                if let [_, second, rest @ ..] = &params[..] {
                    let parts: Vec<(&str, f64)> = params.iter().map(|param| (param.name(), 1.)).collect();
                    change.moments().merge(copy.name(), &parts);
                    let others = rest.len() + 1;
                    let mut sum = copied(second.tensor())?;
                    for param in rest {
                        sum = (sum + param.tensor())?;
                    }
                    let second = if rest.is_empty() { sum } else { (sum / others as f64)? };
                    joined.push(Joined { param: copy.clone(), first: copied(first.tensor())?, second, others });
                } else {
                    let share = clues.share(part, group, source);
                    change.moments().scale(copy.name(), share.min(1.), share);
                }
                self.known.insert(copy.name().to_string(), copy);
            }
            for group in old.iter().filter(|group| !new.contains(group)) {
                self.drop(&self.name(group, part), change);
            }
        }
        self.resolve(to, &BTreeMap::new())?;
        Ok(joined)
    }

    fn drop(&mut self, name: &str, change: &mut Change) {
        if let Some(param) = self.known.remove(name) {
            change.remove(&param);
        }
    }

    /// Keeps every group's vectors as they are, and lets each task train on from them on its own.
    pub(super) fn divide(&mut self, bands: &Bands, clues: &Clues, change: &mut Change) -> Result<BTreeMap<usize, Own>> {
        for part in self.parts() {
            for group in bands.0[self.band(part)].groups.clone() {
                let param = self.group(&group, part)?.clone();
                let kept = change.freeze(&param, &self.kept(&group, part))?;
                self.known.insert(kept.name().to_string(), kept);
                if group.only().is_some() {
                    continue;
                }
                for task in group.iter() {
                    let one = TaskSet::one(task);
                    let copy = change.fork(&param, &self.own(task, part), one.clone())?;
                    let share = clues.share(part, &one, &group);
                    change.moments().scale(copy.name(), share.min(1.), share);
                    self.known.insert(copy.name().to_string(), copy);
                }
                self.drop(param.name(), change);
            }
        }
        let own = (0..self.names.len()).map(|task| (task, Own::Training)).collect();
        self.resolve(bands, &own)?;
        Ok(own)
    }

    /// What `task` trained, part by part, and what its group's were.
    pub(super) fn pairs(&self, bands: &Bands, task: TaskId) -> Result<Vec<Joined>> {
        let of = |part: Part| {
            let groups = &bands.0[self.band(part)].groups;
            let Some(group) = groups.iter().find(|group| group.contains(task)) else {
                candle_core::bail!("task {} is in no group", task.0)
            };
            let (param, kept) = (self.find(&self.own(task, part))?, self.find(&self.kept(group, part))?);
            let (first, second) = (copied(kept.tensor())?, copied(param.tensor())?);
            Ok(Joined { param: param.clone(), first, second, others: 1 })
        };
        self.parts().map(of).collect()
    }

    /// Takes out what nobody needs once every task has its mix.
    pub(super) fn settle(&mut self, bands: &Bands, own: &BTreeMap<usize, Own>, change: &mut Change) -> Result<()> {
        self.resolve(bands, own)?;
        let seen: Vec<String> =
            self.seen.iter().flat_map(|weights| weights.iter().map(|param| param.name().to_string())).collect();
        for part in self.parts() {
            for group in &bands.0[self.band(part)].groups {
                let kept = self.kept(group, part);
                let owned = group.iter().map(|task| self.own(task, part));
                for name in std::iter::once(kept).chain(owned).filter(|name| !seen.contains(name)).collect::<Vec<_>>() {
                    self.drop(&name, change);
                }
            }
        }
        Ok(())
    }
}

impl Joined {
    /// Sets the parameter to the mean of all.
    pub(super) fn mean(&self) -> Result<()> {
        self.mix(self.others as f64 / (self.others + 1) as f64)
    }

    /// Sets the parameter to (1 − μ)·first + μ·second, the ends exactly.
    pub(super) fn mix(&self, mix: f64) -> Result<()> {
        let mixed = match mix {
            0. => self.first.clone(),
            1. => self.second.clone(),
            _ => ((&self.first * (1. - mix))? + (&self.second * mix)?)?,
        };
        self.param.var().set(&mixed)
    }
}
