//! Hierarchical sharing: one encoder, and the head of task t reads layer lₜ, low tasks low (Søgaard & Goldberg 2016;
//! Hashimoto et al. 2017, "a joint many-task model", JMT).
//!
//! xₜ = h_{lₜ}, or with `mix` γₜ·Σ_{l ≤ lₜ} softmax(wₜ)ₗ·hₗ (embeddings count as l = 0). By default the tasks stand in
//! the recipe's order, lₜ = ⌈L·(t + 1)/K⌉. Layers above the highest lₜ do not exist. No gradient of a task reaches a
//! layer above its own, so that each layer is shared by another set of tasks.
//!
//! - `labels`: what a task predicts, pₛ = softmax(headₛ(xₛ)), enters the layer above it as h ← h + pₛ·Eₛ, for every
//!   token (a text's prediction for each of its tokens); a head of one output enters as it is. Eₛ starts at zero, that
//!   is at the pretrained encoder. JMT concatenates instead, which a pretrained layer's width does not allow. Higher
//!   tasks train the lower heads along.
//! - `successive` δ > 0: tasks train one after the other, low ones first, `rounds` times, each with the penalty
//!   δ·‖θ − θ′‖² over what the task before it also reaches, θ′ being its values when that task was done. JMT uses 1e-3
//!   and 1e-2, over epochs. The steps of a round have one task each, so that no two gradients meet.
//!
//! Defaults: layers by the tasks' order, no mix, no labels, joint training (δ = 0; 10 rounds otherwise).
//!
//! Parameters: P up to the highest lₜ + Σ H·outputsₛ with `labels` + Σ (lₜ + 2) with `mix`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::additions::merged;
use crate::blocks::penalty::{penalty_with_gradient, squared_norm};
use crate::blocks::trunk::Trunk;
use crate::blocks::values::copied;
use crate::{
    BuildContext, DevScores, Head, Mix, Phase, RateScales, Role, Sharing, Strategy, StrategySettings, TaskSet,
};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Hierarchical>(
    "hierarchical",
    "one encoder, low tasks read low layers",
    "Søgaard & Goldberg 2016; Hashimoto et al. 2017",
    "P",
    true,
)
.with_source(include_str!("hierarchical.rs"))
.with_rates(RateScales::PLAIN.added(1.).mixing(1.));

/// The `[sharing]` section of `strategy = "hierarchical"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hierarchical {
    /// The layer that a task reads, counted from 1, by the task's name; from 1 to the number of layers; the others by
    /// ⌈L·(t + 1)/K⌉.
    pub layers: BTreeMap<String, usize>,
    /// Whether a task reads a learnt mix of all states up to its layer.
    pub mix: bool,
    /// Whether what lower tasks predict enters the layers above them.
    pub labels: bool,
    /// δ ≥ 0, weight of the penalty on leaving what the task before has learnt; 0 for joint training.
    pub successive: f64,
    /// With `successive`, how often it is each task's turn; at least 1.
    pub rounds: usize,
}

impl Default for Hierarchical {
    fn default() -> Self {
        Self { layers: BTreeMap::new(), mix: false, labels: false, successive: 0., rounds: 10 }
    }
}

impl StrategySettings for Hierarchical {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if !(self.successive >= 0. && self.successive.is_finite()) {
            bail!("`successive` is {}, but the weight of a penalty is a number from 0 on", self.successive);
        }
        if self.rounds == 0 {
            bail!("`rounds` is 0, but every task has to train at least once");
        }
        if let Some((task, _)) = self.layers.iter().find(|(_, layer)| **layer == 0) {
            bail!("`layers` has `{task}` read layer 0, but layers are counted from 1");
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let (layers, count) = (context.encoder.layers(), context.tasks.len());
        if let Some((name, layer)) = self.layers.iter().find(|(_, layer)| **layer > layers) {
            bail!("`layers` has `{name}` read layer {layer}, but the encoder has {layers}");
        }
        if let Some(name) = self.layers.keys().find(|name| !context.tasks.iter().any(|task| task.name == **name)) {
            let known: Vec<&str> = context.tasks.iter().map(|task| task.name.as_str()).collect();
            bail!("`layers` names `{name}`, but the tasks are {}", known.join(", "));
        }
        let default = |at: usize| (layers * (at + 1)).div_ceil(count);
        let level = |(at, task): (usize, &crate::TaskShape)| *self.layers.get(&task.name).unwrap_or(&default(at));
        let levels: Vec<usize> = context.tasks.iter().enumerate().map(level).collect();
        let top = levels.iter().copied().max().unwrap_or(layers);
        let everyone = context.shared();
        // Who reads layer `index` or one above it.
        let above = |index: usize| -> TaskSet {
            levels.iter().enumerate().filter(|(_, level)| **level > index).map(|(task, _)| TaskId(task)).collect()
        };
        let trunk = Trunk::insert_by(context, top, |part| match part {
            Part::Layer(index) => everyone.reached_by(above(index)),
            Part::Words | Part::Embeddings => everyone.clone(),
        })?;
        let mut tasks = Vec::new();
        for (at, (task, &level)) in context.tasks.iter().zip(&levels).enumerate() {
            let own = context.own(TaskId(at));
            // Higher tasks train what enters the layers below them.
            let entered = self.labels && level < top;
            let higher = if entered { above(level) } else { TaskSet::default() };
            let scope = own.reached_by(higher.union(&TaskSet::one(TaskId(at))));
            let mix = if self.mix { Some(Mix::insert(level + 1, &scope, context)?) } else { None };
            let labels = if entered {
                let zeros =
                    Tensor::zeros((task.outputs, context.encoder.hidden()), context.dtype(), &context.device())?;
                let scope = everyone.reached_by(higher.clone()).with_role(Role::Added);
                Some(context.insert_tensor(&scope, &format!("labels.{}", task.name), &zeros, true)?)
            } else {
                None
            };
            let head = context.heads[at].clone();
            if entered {
                head.names().iter().for_each(|name| context.extend(name, &higher));
            }
            tasks.push(Level { layer: level, mix, labels, head });
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&task| levels[task]);
        Ok(Box::new(Levels { encoder: context.encoder.clone(), trunk, tasks, order, settings: self, kept: Vec::new() }))
    }
}

struct Levels {
    encoder: Arc<Family>,
    trunk: Trunk,
    tasks: Vec<Level>,
    /// The tasks from low to high.
    order: Vec<usize>,
    settings: Hierarchical,
    /// What the task before has learnt: parameters and their values θ′.
    kept: Vec<(Param, Tensor)>,
}

/// Where one task reads.
struct Level {
    layer: usize,
    mix: Option<Mix>,
    /// `[outputs, hidden]`, if what the task predicts enters the layers above.
    labels: Option<Param>,
    head: Head,
}

impl Level {
    /// What the task's head reads, of the states below and at its layer.
    fn read(&self, states: &[Tensor]) -> Result<Tensor> {
        match &self.mix {
            Some(mix) => mix.of(&states[..=self.layer]),
            None => Ok(states[self.layer].clone()),
        }
    }

    /// What the task predicts, as a vector for every token, `[tokens, hidden]`.
    fn shortcut(&self, states: &[Tensor], tokens: &Packed, pass: &mut Pass) -> Result<Option<Tensor>> {
        let Some(labels) = &self.labels else { return Ok(None) };
        let logits = self.head.everywhere(&self.read(states)?, tokens, pass)?;
        let said = if logits.dim(1)? == 1 { logits } else { candle_nn::ops::softmax(&logits, 1)? };
        Ok(Some(said.matmul(labels.tensor())?))
    }
}

impl Levels {
    /// Parameters of the encoder that both tasks reach, with their values now.
    fn common(&self, a: usize, b: usize) -> Result<Vec<(Param, Tensor)>> {
        let depth = self.tasks[a].layer.min(self.tasks[b].layer);
        self.trunk.below(depth).iter().map(|param| Ok((param.clone(), copied(param.tensor())?))).collect()
    }
}

impl Levels {
    /// The states up to layer `top`, the embeddings' first. Those up to any lower layer are the same whatever `top` is:
    /// what a task predicts enters above the layer that it reads.
    fn states(&self, top: usize, tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let view = |part: Part, pass: &mut Pass| pass.view(self.trunk.part(part));
        let words = self.encoder.words(&view(Part::Words, pass)?, tokens, pass)?;
        let mut states = vec![self.encoder.embed(&view(Part::Embeddings, pass)?, &words, tokens, pass)?];
        let mut below = states[0].clone();
        for index in 0..top {
            let view = view(Part::Layer(index), pass)?;
            let state = self.encoder.layer(&view, &below, tokens, &Ports::default(), pass)?;
            states.push(state.clone());
            below = state;
            for lower in self.tasks.iter().filter(|lower| lower.layer == index + 1 && lower.layer < top) {
                if let Some(shortcut) = lower.shortcut(&states, tokens, pass)? {
                    below = (below + shortcut)?;
                }
            }
        }
        Ok(states)
    }
}

impl Sharing for Levels {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let own = &self.tasks[task.0];
        own.read(&self.states(own.layer, tokens, pass)?)
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let Some(top) = tasks.iter().map(|task| self.tasks[task.0].layer).max() else { return Ok(Vec::new()) };
        let states = self.states(top, tokens, pass)?;
        tasks.iter().map(|task| self.tasks[task.0].read(&states)).collect()
    }

    fn penalty(&self) -> Result<Option<Tensor>> {
        let (delta, mut price, mut gradients) = (self.settings.successive, 0., Vec::new());
        for (param, kept) in &self.kept {
            let moved = (param.tensor().detach() - kept)?;
            price += delta * squared_norm(&moved)?;
            gradients.push((param.tensor(), (moved * (2. * delta))?));
        }
        penalty_with_gradient(price, gradients)
    }

    fn phases(&self, budget: usize) -> Vec<Phase> {
        if self.settings.successive == 0. {
            return vec![Phase::main(budget)];
        }
        let turns = self.order.len() * self.settings.rounds.min(budget / self.order.len()).max(1);
        let phase = |turn: usize| Phase {
            name: format!("turn-{turn}"),
            steps: budget * (turn + 1) / turns - budget * turn / turns,
            tasks: Some(vec![TaskId(self.order[turn % self.order.len()])]),
            reset_optimizer: false,
        };
        (0..turns).map(phase).collect()
    }

    fn enter(&mut self, phase: usize, _scores: &mut dyn DevScores) -> Result<()> {
        if self.settings.successive > 0. && phase > 0 {
            let turn = |phase: usize| self.order[phase % self.order.len()];
            self.kept = self.common(turn(phase - 1), turn(phase))?;
        }
        Ok(())
    }

    /// The encoder of a task that reads the top layer as it is. `None` for one that reads below it, whose encoder has
    /// fewer layers; with `mix`; and where the predictions of lower tasks enter.
    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let own = &self.tasks[task.0];
        let entered = self.tasks.iter().any(|lower| lower.labels.is_some() && lower.layer < own.layer);
        if own.layer < self.encoder.layers() || own.mix.is_some() || entered {
            return Ok(None);
        }
        merged(&self.encoder, |part| Ok(self.trunk.part(part).tensor().clone()))
    }

    /// Of a task that reads a lower layer too, the encoder up to that.
    fn plain(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let own = &self.tasks[task.0];
        let entered = self.tasks.iter().any(|lower| lower.labels.is_some() && lower.layer < own.layer);
        if own.mix.is_some() || entered {
            return Ok(None);
        }
        let copy = |part: Part| Ok((part, copied(&self.trunk.part(part).tensor().flatten_all()?)?));
        Ok(Some(Part::all(own.layer).map(copy).collect::<Result<_>>()?))
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.kept.iter().map(|(param, kept)| Ok((format!("kept/{}", param.name()), copied(kept)?))).collect()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, phase: usize) -> Result<()> {
        if self.settings.successive == 0. || phase == 0 {
            self.kept.clear();
            return Ok(());
        }
        let turn = |phase: usize| self.order[phase % self.order.len()];
        self.kept = self.common(turn(phase - 1), turn(phase))?;
        for (param, kept) in &mut self.kept {
            let name = format!("kept/{}", param.name());
            let Some(saved) = state.get(&name).filter(|saved| saved.dims() == kept.dims()) else {
                candle_core::bail!("the saved state has no `{name}` of {} values", param.layout().len())
            };
            *kept = saved.to_dtype(kept.dtype())?.to_device(kept.device())?;
        }
        Ok(())
    }

    fn findings(&self) -> Result<Value> {
        Ok(json!({ "layers": self.tasks.iter().map(|task| task.layer).collect::<Vec<_>>() }))
    }
}
