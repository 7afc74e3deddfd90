//! Progressive layered extraction (Tang et al. 2020): experts that all tasks share and experts of one task, in levels.
//! With one level this is customised gate control (CGC).
//!
//! The encoder's top layers are cut into `levels` blocks of `layers` layers above a shared trunk. Each task t has a
//! stream xₜ, and the tasks have a shared stream x₀; below the first level all are the trunk's last state. In each
//! level xₜ ← Σ gₜ(xₜ)ₑ·fₑ over the shared experts' outputs for x₀ and the task's own experts' outputs for xₜ, and, but
//! for the last level, x₀ ← Σ g₀(x₀)ₑ·fₑ over the outputs of all tasks' experts and the shared ones. Experts are copies
//! of their block's layers; gates read as MMoE's do. In the paper they are perceptrons.
//!
//! A lower level runs all K·T + S experts on each task's batch, the last level T + S of them.
//!
//! Defaults: two levels of one layer, one shared expert, one for each task, gates that read texts.
//!
//! Parameters: P + n·P_layer·levels·(S + K·T − 1) + H·(levels·K·(S + T) + (levels − 1)·(S + K·T)), with S shared experts,
//! T of each task, and n layers a level.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Family, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::experts::{Expert, Gate, Gated, branching};
use crate::blocks::trunk::Trunk;
use crate::{BuildContext, RateScales, Scope, Sharing, Strategy, StrategySettings, TaskSet};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Ple>(
    "ple",
    "shared and own experts in levels",
    "Tang et al. 2020",
    "P + levels·layers·(shared_experts + K·task_experts − 1)·(4·H·H + 2·H·I + 9·H + I) \
     + H·(levels·K·(shared_experts + task_experts) + (levels − 1)·(shared_experts + K·task_experts))",
    true,
)
.with_source(include_str!("ple.rs"))
.with_rates(RateScales::PLAIN.mixing(1.));

/// The `[sharing]` section of `strategy = "ple"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ple {
    /// Levels of experts; at least 1.
    pub levels: usize,
    /// How many of the encoder's layers a level copies; at least 1, `levels` times as many at most the encoder's.
    pub layers: usize,
    /// Experts of each level that all tasks read; from 0 on, with more than one level from 1 on.
    pub shared_experts: usize,
    /// Experts of each level that one task has to itself; from 0 on.
    pub task_experts: usize,
    /// What a gate decides for.
    pub gate: Gated,
}

impl Default for Ple {
    fn default() -> Self {
        Self { levels: 2, layers: 1, shared_experts: 1, task_experts: 1, gate: Gated::Text }
    }
}

impl StrategySettings for Ple {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.shared_experts + self.task_experts == 0 {
            bail!("`shared_experts` and `task_experts` are both 0, but every task reads at least one");
        }
        if self.levels == 0 {
            bail!("`levels` is 0, but experts need at least one");
        }
        if self.levels > 1 && self.shared_experts == 0 {
            bail!("`shared_experts` is 0, so that nobody reads the shared stream between {} levels", self.levels);
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let depth = branching(context, self.layers, self.levels)?;
        let everyone = context.shared();
        let trunk = Trunk::insert(context, &everyone, depth)?;
        let tasks = context.each();
        let mut levels = Vec::new();
        for level in 0..self.levels {
            let first = depth + level * self.layers;
            // Other tasks' experts enter the shared stream of the next level; their gates' streams end one level below.
            let last = self.levels - 1;
            let reached = |scope: &Scope, by_all: bool| {
                if by_all { scope.reached_by(TaskSet::all(tasks.len())) } else { scope.clone() }
            };
            let experts = |context: &mut BuildContext, scope: &Scope, count: usize| {
                let of = |expert: usize| format!("level.{level}.expert.{expert}");
                let all = (0..count).map(|at| Expert::insert(context, scope, &of(at), first..first + self.layers));
                all.collect::<Result<Vec<_>>>()
            };
            let shared = experts(context, &everyone, self.shared_experts)?;
            let own = tasks.iter().map(|scope| experts(context, &reached(scope, level < last), self.task_experts));
            let own: Vec<Vec<Expert>> = own.collect::<Result<_>>()?;
            let read = self.shared_experts + self.task_experts;
            let gates = tasks
                .iter()
                .map(|scope| {
                    let scope = reached(scope, level + 1 < last);
                    Gate::insert(context, &scope, &format!("level.{level}.gate"), read, self.gate)
                })
                .collect::<Result<_>>()?;
            let shared_gate = if level + 1 < self.levels {
                let all = self.shared_experts + tasks.len() * self.task_experts;
                Some(Gate::insert(context, &everyone, &format!("level.{level}.gate"), all, self.gate)?)
            } else {
                None
            };
            levels.push(Level { shared, own, gates, shared_gate });
        }
        Ok(Box::new(Extraction { encoder: context.encoder.clone(), trunk, levels }))
    }
}

struct Extraction {
    encoder: Arc<Family>,
    trunk: Trunk,
    levels: Vec<Level>,
}

struct Level {
    shared: Vec<Expert>,
    /// By task.
    own: Vec<Vec<Expert>>,
    /// By task.
    gates: Vec<Gate>,
    /// Of the shared stream; none in the last level.
    shared_gate: Option<Gate>,
}

impl Sharing for Extraction {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let mut shared = self.trunk.top(&self.encoder, tokens, pass)?;
        let mut streams = vec![shared.clone(); self.levels[0].own.len()];
        for level in &self.levels {
            let mut answers = |experts: &[Expert], x: &Tensor| -> Result<Vec<Tensor>> {
                experts.iter().map(|expert| expert.of(&self.encoder, x, tokens, pass)).collect()
            };
            let common = answers(&level.shared, &shared)?;
            let Some(shared_gate) = &level.shared_gate else {
                let top = |task: &TaskId| {
                    let stream = &streams[task.0];
                    let all = [common.clone(), answers(&level.own[task.0], stream)?].concat();
                    level.gates[task.0].mix(stream, &all, tokens)
                };
                return tasks.iter().map(top).collect();
            };
            let mut all = common.clone();
            for (at, stream) in streams.iter_mut().enumerate() {
                let own = answers(&level.own[at], stream)?;
                all.extend(own.iter().cloned());
                *stream = level.gates[at].mix(stream, &[common.clone(), own].concat(), tokens)?;
            }
            shared = shared_gate.mix(&shared, &all, tokens)?;
        }
        candle_core::bail!("the last level has no shared stream")
    }
}
