//! Single-task learning: every task has an encoder of its own. The baseline that multi-task learning has to beat.
//!
//! Task t sees θ_t, which starts at the pretrained θ; no parameter is shared, and there are no settings.
//!
//! Parameters: K·P, P being the encoder's, beside the heads.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Part, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::additions::merged;
use crate::{BuildContext, EncoderWeights, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Single>("single", "an encoder per task: the baseline", "-", "K·P", false)
    .with_source(include_str!("single.rs"));

/// The `[sharing]` section of `strategy = "single"`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Single {}

impl StrategySettings for Single {
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let own = context.each().iter().map(|scope| EncoderWeights::insert(context, scope)).collect::<Result<_>>()?;
        Ok(Box::new(SingleTask { encoder: context.encoder.clone(), own }))
    }
}

struct SingleTask {
    encoder: Arc<Family>,
    own: Vec<EncoderWeights>,
}

impl Sharing for SingleTask {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        Ok(self.own[task.0].states(&self.encoder, tokens, depth, pass)?.swap_remove(depth))
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(&self.encoder, |part| Ok(self.own[task.0].part(part).tensor().clone()))
    }
}
