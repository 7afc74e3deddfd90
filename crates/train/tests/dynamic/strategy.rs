//! Strategies that change their structure in training, written against the public interface alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Params, Part, Pass, Ports};
use mtl_sharing::{
    BuildContext, Change, EncoderWeights, Sharing, StepView, Strategy, StrategySettings, TaskSet, Topology, walk,
};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

/// Every `every` steps the top layer splits in two, the first task to one side and the others to the other, or its two
/// copies become one again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SplitAndMerge {
    every: usize,
}

impl Default for SplitAndMerge {
    fn default() -> Self {
        Self { every: 3 }
    }
}

pub(crate) const SPLIT_AND_MERGE: Strategy =
    Strategy::of::<SplitAndMerge>("split-and-merge", "the top layer splits and merges", "-", "P to P + a layer", true);

impl StrategySettings for SplitAndMerge {
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let everyone = context.shared();
        let base = EncoderWeights::insert(context, &everyone)?;
        Ok(Box::new(Splitting { encoder: context.encoder.clone(), base, other: None, every: self.every }))
    }
}

struct Splitting {
    encoder: Arc<Family>,
    base: EncoderWeights,
    /// The top layer of the tasks that left, while they are apart.
    other: Option<(TaskSet, Param)>,
    every: usize,
}

const OTHER: &str = "others/layer.1";

impl Splitting {
    fn top(&self) -> &Param {
        self.base.part(Part::Layer(self.encoder.layers() - 1))
    }

    fn split(&mut self, change: &mut Change, step: &StepView) -> Result<()> {
        let tasks = change.topology().tasks();
        let (first, rest): (TaskSet, TaskSet) = (TaskSet::one(TaskId(0)), (1..tasks).map(TaskId).collect());
        let top = self.top().clone();
        let other = change.fork(&top, OTHER, rest.clone())?;
        change.assign(&top, first.clone())?;
        let share = |tasks: &TaskSet| -> f64 {
            let gram = step.grams.get(top.name()).expect("it was asked for");
            let place = |task: TaskId| step.tasks.iter().position(|present| *present == task);
            let sum =
                |rows: &[usize]| -> f64 { rows.iter().flat_map(|&i| rows.iter().map(move |&j| gram.at(i, j))).sum() };
            let own: Vec<usize> = tasks.iter().filter_map(place).collect();
            let all: Vec<usize> = (0..step.tasks.len()).collect();
            (sum(&own) / sum(&all).max(1e-300)).clamp(1e-3, 1.)
        };
        let shares = (share(&first), share(&rest));
        change.moments().scale(top.name(), shares.0, shares.0);
        change.moments().scale(other.name(), shares.1, shares.1);
        self.other = Some((rest, other));
        Ok(())
    }

    fn merge(&mut self, change: &mut Change) -> Result<()> {
        let Some((_, other)) = self.other.take() else { return Ok(()) };
        let top = self.top().clone();
        let mean = ((top.tensor().detach() + other.tensor().detach())? / 2.)?;
        top.var().set(&mean)?;
        change.moments().merge(top.name(), &[(top.name(), 0.5), (other.name(), 0.5)]);
        change.remove(&other);
        change.assign(&top, TaskSet::all(change.topology().tasks()))
    }
}

impl Sharing for Splitting {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (depth, last) = (self.encoder.layers(), Part::Layer(self.encoder.layers() - 1));
        let param = |part: Part| match &self.other {
            Some((tasks, other)) if part == last && tasks.contains(task) => other,
            _ => self.base.part(part),
        };
        let view = |part: Part, pass: &mut Pass| pass.view(param(part));
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn reads_grams(&self) -> bool {
        true
    }

    fn adapt(&mut self, change: &mut Change, step: &mut StepView) -> Result<()> {
        if !(step.progress.step + 1).is_multiple_of(self.every) {
            return Ok(());
        }
        // What a choice would be made by: it has to be there, one loss an example.
        let losses = step.held_out.losses(self, TaskId(0))?;
        assert!(!losses.is_empty() && losses.iter().all(|loss| loss.is_finite()));
        match &self.other {
            None => self.split(change, step),
            Some(_) => self.merge(change),
        }
    }

    fn restructure(&mut self, topology: &Topology, params: &Params) -> Result<()> {
        let tasks = topology.trained_by(OTHER).cloned();
        self.other = tasks.zip(params.get(OTHER).cloned());
        Ok(())
    }

    fn findings(&self) -> Result<serde_json::Value> {
        Ok(serde_json::json!({ "apart": self.other.is_some() }))
    }
}

/// One encoder until step `at`, from then on one for each task.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shatter {
    at: usize,
}

pub(crate) const SHATTER: Strategy =
    Strategy::of::<Shatter>("shatter", "one encoder, then one for each task", "-", "P to K·P", true);

impl StrategySettings for Shatter {
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let everyone = context.shared();
        let parts: Vec<Part> = Part::all(context.encoder.layers()).collect();
        let shared = parts.iter().map(|&part| Ok((part, context.insert_part(&everyone, part)?)));
        let shared = shared.collect::<Result<BTreeMap<Part, Param>>>()?;
        let names = context.tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>();
        let seen = vec![shared; names.len()];
        Ok(Box::new(Shattering { encoder: context.encoder.clone(), seen, names, at: self.at }))
    }
}

struct Shattering {
    encoder: Arc<Family>,
    /// The parts that each task sees.
    seen: Vec<BTreeMap<Part, Param>>,
    names: Vec<String>,
    at: usize,
}

impl Sharing for Shattering {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let view = |part: Part, pass: &mut Pass| pass.view(&self.seen[task.0][&part]);
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn adapt(&mut self, change: &mut Change, step: &mut StepView) -> Result<()> {
        if step.progress.step + 1 != self.at {
            return Ok(());
        }
        let shared = self.seen[0].clone();
        for (task, name) in self.names.iter().enumerate() {
            for (part, param) in &shared {
                let own = change.fork(param, &format!("task.{name}/{part}"), TaskSet::one(TaskId(task)))?;
                self.seen[task].insert(*part, own);
            }
        }
        shared.values().for_each(|param| change.remove(param));
        Ok(())
    }

    fn restructure(&mut self, _topology: &Topology, params: &Params) -> Result<()> {
        for (seen, name) in self.seen.iter_mut().zip(&self.names) {
            for (part, param) in seen {
                let own = params.get(&format!("task.{name}/{part}"));
                let Some(found) = own.or_else(|| params.get(&format!("shared/{part}"))) else {
                    candle_core::bail!("nobody has the part {part}")
                };
                *param = found.clone();
            }
        }
        Ok(())
    }
}
