//! Half: all tasks share the lower half of the encoder, and each has its own upper half.
//!
//! Parameters: P, and K − 1 more of each layer of the upper half.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Part, Pass, Ports};
use mtl_sharing::{BuildContext, Sharing, Strategy, StrategySettings, walk};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

/// The member of the registry.
pub(crate) const STRATEGY: Strategy = Strategy::of::<Half>(
    "half",
    "a shared lower half, an upper half for each task",
    "-",
    "P + (K − 1)·L/2 layers",
    true,
)
.with_source(include_str!("half.rs"));

/// The `[sharing]` section.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Half {
    /// Layers that are shared, from 0 on; 0 for half of them.
    shared_layers: usize,
}

impl StrategySettings for Half {
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let layers = context.encoder.layers();
        let below = if self.shared_layers == 0 { layers / 2 } else { self.shared_layers };
        anyhow::ensure!(below <= layers, "`shared_layers` is {below}, but the encoder has {layers} layers");
        let everyone = context.shared();
        let lower: Vec<Param> =
            Part::all(below).map(|part| context.insert_part(&everyone, part)).collect::<Result<_>>()?;
        let tasks = context.each().into_iter().map(|own| {
            let upper = (below..layers).map(|index| context.insert_part(&own, Part::Layer(index)));
            Ok(lower.iter().cloned().map(Ok).chain(upper).collect::<Result<_>>()?)
        });
        Ok(Box::new(Halves { tasks: tasks.collect::<anyhow::Result<_>>()?, encoder: context.encoder.clone() }))
    }
}

struct Halves {
    encoder: Arc<Family>,
    /// What each task sees: words, embeddings, then the layers.
    tasks: Vec<Vec<Param>>,
}

impl Sharing for Halves {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (depth, seen) = (self.encoder.layers(), &self.tasks[task.0]);
        let place = |part: Part| match part {
            Part::Words => 0,
            Part::Embeddings => 1,
            Part::Layer(index) => index + 2,
        };
        let view = |part: Part, pass: &mut Pass| pass.view(&seen[place(part)]);
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }
}
