//! Recon: hard sharing until it is seen where task gradients conflict, then a copy for every task of the parts where they
//! do most (Shi et al., "Recon: Reducing Conflicting Gradients from the Root for Multi-Task Learning", ICLR 2023).
//!
//! With gᵢ task i's gradient over part k, the score of k is s⁽ᵏ⁾ = Σ_steps #{(i, j): cos(gᵢ, gⱼ) < S} over the first
//! `search` of the steps. The `parts` parts with the highest scores become every task's own; the rest stays shared to the
//! end. Parts are the word table, the embeddings and the encoder's layers, each as a whole.
//!
//! Copies begin as they were, so that no task's function changes, and with both moments multiplied by the task's share of
//! the squared gradient norm over the steps that were scored.
//!
//! Deviations: the paper trains the split network again from its pretrained weights and with all steps; here training
//! goes on from the split, so that a run costs what hard sharing does. `restart = true` begins again after the search, with
//! weights and heads as they were, a fresh optimizer and schedule, and the steps that the search has left. The paper's
//! layers are modules, of which it splits up to 40 of some sixty; a transformer's layers here are one part each. Parts in
//! which no pair conflicted in more than `least` of the steps stay shared whatever their rank: the paper's rank alone
//! splits so many in any case. Cosines of small batches are mostly noise, and the count cannot tell it from conflict
//! (`mtl diagnose` can).
//!
//! Defaults: search 0.25 (as the paper finds enough), threshold S = −0.02 (one of the paper's three), 2 parts, any size.
//!
//! Parameters: P, and P_k more for each split part and task but one.

mod conflicts;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Params, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use conflicts::Conflicts;

use crate::blocks::additions::merged;
use crate::blocks::values::copied;
use crate::blocks::walk::{walk, walk_on};
use crate::context::together;
use crate::{
    BuildContext, Change, EncoderWeights, Phase, Sharing, StepView, Strategy, StrategySettings, TaskSet, Topology,
};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Recon>(
    "recon",
    "hard sharing, then a copy for each task of the parts where gradients conflict most",
    "Shi et al. 2023",
    "P, and up to K·P after parts split",
    true,
)
.with_source(include_str!("mod.rs"));

/// The `[sharing]` section of `strategy = "recon"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recon {
    /// Share of the steps that conflicts are counted in, in (0, 1).
    pub search: f64,
    /// S: a pair conflicts in a step where the cosine of its gradients is below it, in [−1, 0].
    pub threshold: f64,
    /// Most parts that become task-specific; at least 1.
    pub parts: usize,
    /// Most of the encoder's parameters that become task-specific, as a share, in (0, 1]: the parts with the highest
    /// scores first, those that would exceed it passed over.
    pub most_parameters: f64,
    /// Share of pairs and steps that a part's conflicts have to exceed, in [0, 1).
    pub least: f64,
    /// Whether training begins again from the pretrained weights once the parts have split.
    pub restart: bool,
}

impl Default for Recon {
    fn default() -> Self {
        Self { search: 0.25, threshold: -0.02, parts: 2, most_parameters: 1., least: 0., restart: false }
    }
}

impl StrategySettings for Recon {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if !(self.search > 0. && self.search < 1.) {
            bail!("`search` must lie between 0 and 1, found {}", self.search);
        }
        if !(-1. ..=0.).contains(&self.threshold) {
            bail!("`threshold` must lie in [-1, 0], found {}; a cosine above 0 is no conflict", self.threshold);
        }
        if self.parts == 0 {
            bail!("`parts` is 0, which never splits anything; that is strategy `hard`");
        }
        if !(self.most_parameters > 0. && self.most_parameters <= 1.) {
            bail!("`most_parameters` must lie in (0, 1], found {}", self.most_parameters);
        }
        if !(0. ..1.).contains(&self.least) {
            bail!("`least` must lie in [0, 1), found {}", self.least);
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let tasks = context.tasks.len();
        self.check(tasks)?;
        let names = context.tasks.iter().map(|task| task.name.clone()).collect();
        let shared = EncoderWeights::insert(context, &context.shared())?;
        let restart = self.restart && tasks > 1;
        let begun = shared.iter().chain(context.heads.iter().flat_map(|head| head.params())).filter(|_| restart);
        let kept = |param: &Param| Ok((param.name().to_string(), copied(param.tensor())?));
        let begun = begun.map(kept).collect::<Result<_>>()?;
        Ok(Box::new(Reconnected {
            encoder: context.encoder.clone(),
            weights: vec![shared; tasks],
            names,
            scores: Conflicts::new(tasks),
            begun,
            settings: self,
        }))
    }
}

struct Reconnected {
    encoder: Arc<Family>,
    names: Vec<String>,
    /// What each task sees: the same parameters where a part is shared.
    weights: Vec<EncoderWeights>,
    scores: Conflicts,
    /// Every parameter as it began, where training begins again after the search; empty once it has.
    begun: BTreeMap<String, Tensor>,
    settings: Recon,
}

impl Reconnected {
    fn watches(&self) -> bool {
        self.names.len() > 1 && !self.scores.is_settled()
    }

    /// Steps of the search in a training of `of`.
    fn search(&self, of: usize) -> usize {
        ((self.settings.search * of as f64).round() as usize).clamp(1, of.max(1))
    }

    /// Whether all tasks share `part`.
    fn is_shared(&self, part: Part) -> bool {
        let first = self.weights.first().map(|weights| weights.part(part).name());
        self.weights.iter().all(|weights| Some(weights.part(part).name()) == first)
    }

    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        Part::all(self.encoder.layers())
    }

    /// How many layers from below all tasks share, if they share words and embeddings.
    fn common(&self) -> Option<usize> {
        let below = self.parts().take_while(|part| self.is_shared(*part)).count();
        below.checked_sub(2)
    }

    /// The parts that are to split, the highest score first; of equals the lowest part.
    fn conflicting(&self) -> Vec<Part> {
        let Some(weights) = self.weights.first() else { return Vec::new() };
        let rate = |part: Part| self.scores.rate(weights.part(part).name()).unwrap_or(0.);
        let mut ranked: Vec<Part> = self.parts().filter(|part| rate(*part) > self.settings.least).collect();
        ranked.sort_by(|a, b| rate(*b).total_cmp(&rate(*a)));
        let length = |part: Part| weights.part(part).layout().len();
        let most = self.settings.most_parameters * self.parts().map(length).sum::<usize>() as f64;
        let (mut taken, mut found) = (0, Vec::new());
        for part in ranked {
            if found.len() < self.settings.parts && (taken + length(part)) as f64 <= most {
                taken += length(part);
                found.push(part);
            }
        }
        found
    }

    /// Gives every task its own copy of `part`, with its share of the moments.
    fn split(&mut self, part: Part, change: &mut Change) -> Result<()> {
        let Some(one) = self.weights.first().map(|weights| weights.part(part).clone()) else { return Ok(()) };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        for (at, weights) in self.weights.iter_mut().enumerate() {
            let tasks = TaskSet::one(TaskId(at));
            let copy = change.fork(&one, &format!("{}/{part}", together(&tasks, &names)), tasks)?;
            let share = self.scores.share(one.name(), TaskId(at));
            change.moments().scale(copy.name(), share.min(1.), share);
            *weights = weights.clone().with(part, copy);
        }
        change.remove(&one);
        Ok(())
    }

    /// Puts every parameter back to where it began.
    fn begin_again(&mut self, change: &Change) -> Result<()> {
        for param in change.params().iter() {
            // A copy began as what it is a copy of.
            let shared = || param.name().split_once('/').map(|(_, part)| format!("shared/{part}"));
            let began = self.begun.get(param.name()).or_else(|| self.begun.get(&shared()?));
            if let Some(began) = began {
                param.var().set(began)?;
            }
        }
        self.begun.clear();
        Ok(())
    }
}

impl Sharing for Reconnected {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        Ok(self.weights[task.0].states(&self.encoder, tokens, depth, pass)?.swap_remove(depth))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let (Some(common), Some(first)) = (self.common(), tasks.first()) else {
            return tasks.iter().map(|&task| self.represent(task, tokens, pass)).collect();
        };
        let depth = self.encoder.layers();
        let view = |part: Part, pass: &mut Pass| pass.view(self.weights[first.0].part(part));
        let below = walk(&self.encoder, tokens, common, pass, view, |_| Ports::default())?;
        let own = |task: &TaskId| {
            let mut states = below.clone();
            let view = |part: Part, pass: &mut Pass| pass.view(self.weights[task.0].part(part));
            walk_on(&self.encoder, &mut states, tokens, depth, pass, view, |_| Ports::default())?;
            Ok(states.swap_remove(depth))
        };
        tasks.iter().map(own).collect()
    }

    fn reads_grams(&self) -> bool {
        self.watches()
    }

    fn phases(&self, budget: usize) -> Vec<Phase> {
        let search = self.search(budget);
        if !self.settings.restart || self.names.len() < 2 || search >= budget {
            return vec![Phase::main(budget)];
        }
        let search = Phase { name: "search".into(), ..Phase::main(search) };
        let train = Phase { reset_optimizer: true, ..Phase::main(budget - search.steps) };
        vec![search, train]
    }

    fn adapt(&mut self, change: &mut Change, step: &mut StepView) -> Result<()> {
        if !self.watches() {
            return Ok(());
        }
        self.scores.add(step.tasks, step.grams, self.settings.threshold);
        if step.progress.step + 1 < self.search(step.progress.of) {
            return Ok(());
        }
        let parts = self.conflicting();
        for part in &parts {
            self.split(*part, change)?;
        }
        if !self.begun.is_empty() {
            self.begin_again(change)?;
        }
        self.scores.settle();
        let named: Vec<String> = parts.iter().map(Part::to_string).collect();
        step.events.push(json!({ "split": named, "restart": self.settings.restart }));
        Ok(())
    }

    fn partitions(&self) -> Vec<(String, Vec<TaskSet>)> {
        let tasks = self.names.len();
        let alone = || (0..tasks).map(|task| TaskSet::one(TaskId(task))).collect();
        let of = |part: Part| if self.is_shared(part) { vec![TaskSet::all(tasks)] } else { alone() };
        self.parts().map(|part| (part.to_string(), of(part))).collect()
    }

    fn restructure(&mut self, topology: &Topology, params: &Params) -> Result<()> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let of = |task: usize, part: Part| -> Result<Param> {
            let own = format!("{}/{part}", together(&TaskSet::one(TaskId(task)), &names));
            let shared = format!("shared/{part}");
            let found = [shared, own].iter().find_map(|name| topology.trained_by(name).and(params.get(name)).cloned());
            found.ok_or_else(|| {
                candle_core::Error::Msg(format!(
                    "the checkpoint's structure has neither a shared `{part}` nor one of `{}`",
                    self.names[task]
                ))
            })
        };
        let layers = self.encoder.layers();
        self.weights =
            (0..names.len()).map(|task| EncoderWeights::of(layers, |part| of(task, part))).collect::<Result<_>>()?;
        Ok(())
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let weights = &self.weights[task.0];
        merged(&self.encoder, |part| Ok(weights.part(part).tensor().clone()))
    }

    /// Where gradients conflicted, and what was split.
    fn findings(&self) -> Result<serde_json::Value> {
        let mut conflicts = serde_json::Map::new();
        for part in self.parts() {
            let rate = self.scores.rate(&format!("shared/{part}"));
            conflicts.insert(part.to_string(), rate.map_or(serde_json::Value::Null, serde_json::Value::from));
        }
        let split: Vec<String> = self.parts().filter(|part| !self.is_shared(*part)).map(|p| p.to_string()).collect();
        Ok(json!({ "steps of search": self.scores.steps(), "conflicts": conflicts, "split": split }))
    }

    fn warnings(&self) -> Result<Vec<String>> {
        let unseen = self.scores.is_settled() && self.scores.is_blind();
        Ok(if unseen && self.names.len() > 1 {
            vec![
                "no step of the search had gradients of two tasks, so that every part stayed shared; recon needs \
                 train.step = \"joint\""
                    .to_string(),
            ]
        } else {
            Vec::new()
        })
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.scores.state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, _phase: usize) -> Result<()> {
        self.scores = Conflicts::restored(self.names.len(), state)?;
        if self.scores.is_settled() {
            self.begun.clear();
        }
        Ok(())
    }
}
