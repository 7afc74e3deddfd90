//! Multi-gate mixture of experts (Ma et al. 2018) above a shared trunk.
//!
//! xₜ = Σₑ softmax(Wₜ·x)ₑ·fₑ(x): x is the trunk's last state, the experts fₑ are copies of the encoder's top `layers`
//! layers, shared by all tasks, and each task has a gate of its own, which reads the mean of a text's states (`gate =
//! "text"`) or each token's (`"token"`). The paper's experts are small multi-layer perceptrons beside each other, and
//! its gates read the input; a pretrained encoder has its experts in its layers.
//!
//! Every task's batch goes through every expert. With one expert this is hard sharing.
//!
//! Defaults: 4 experts of one layer, gates that read texts. Parameters: P + (E − 1)·n·P_layer + K·E·H.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::experts::{Expert, Gate, Gated, branching};
use crate::blocks::trunk::Trunk;
use crate::{BuildContext, RateScales, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Mmoe>(
    "mmoe",
    "shared experts above a shared trunk, a gate per task",
    "Ma et al. 2018",
    "P + (experts − 1)·layers·(4·H·H + 2·H·I + 9·H + I) + K·experts·H",
    true,
)
.with_source(include_str!("mmoe.rs"))
.with_rates(RateScales::PLAIN.mixing(1.));

/// The `[sharing]` section of `strategy = "mmoe"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mmoe {
    /// E, number of experts; at least 1.
    pub experts: usize,
    /// How many of the encoder's top layers an expert copies: from 1 to all of them.
    pub layers: usize,
    /// What a gate decides for.
    pub gate: Gated,
}

impl Default for Mmoe {
    fn default() -> Self {
        Self { experts: 4, layers: 1, gate: Gated::Text }
    }
}

impl StrategySettings for Mmoe {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.experts == 0 {
            bail!("`experts` is 0, but every task reads at least one");
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let (depth, top) = (branching(context, self.layers, 1)?, context.encoder.layers());
        let everyone = context.shared();
        let trunk = Trunk::insert(context, &everyone, depth)?;
        let experts = (0..self.experts)
            .map(|expert| Expert::insert(context, &everyone, &format!("expert.{expert}"), depth..top))
            .collect::<Result<_>>()?;
        let gates = context
            .each()
            .iter()
            .map(|scope| Gate::insert(context, scope, "gate", self.experts, self.gate))
            .collect::<Result<_>>()?;
        Ok(Box::new(Mixture { encoder: context.encoder.clone(), trunk, experts, gates }))
    }
}

struct Mixture {
    encoder: Arc<Family>,
    trunk: Trunk,
    experts: Vec<Expert>,
    gates: Vec<Gate>,
}

impl Sharing for Mixture {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let x = self.trunk.top(&self.encoder, tokens, pass)?;
        let answers = self.experts.iter().map(|expert| expert.of(&self.encoder, &x, tokens, pass));
        let answers: Vec<Tensor> = answers.collect::<Result<_>>()?;
        tasks.iter().map(|task| self.gates[task.0].mix(&x, &answers, tokens)).collect()
    }
}
