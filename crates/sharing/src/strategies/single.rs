//! Single-task learning: every task has an encoder of its own. The baseline that multi-task learning has to beat.
//!
//! Parameters: K·(encoder + head).

use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Part, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::additions::merged;
use crate::{BuildContext, EncoderWeights, Sharing, Strategy};

/// The `[sharing]` section of `strategy = "single"`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Single {}

impl Strategy for Single {
    fn build(self, site: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let own = site
            .tasks
            .iter()
            .map(|task| EncoderWeights::insert(site.pretrained, &format!("task.{}", task.name), site.params))
            .collect::<Result<_>>()?;
        Ok(Box::new(SingleTask { encoder: site.encoder.clone(), own }))
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

    fn reach(&self, task: TaskId) -> Vec<String> {
        self.own[task.0].names()
    }
}
