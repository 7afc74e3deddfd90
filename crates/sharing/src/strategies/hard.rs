//! Hard sharing (Caruana 1997): one encoder, one head per task.
//!
//! Every task sees θ_shared. With `private_layers = n` the top n layers are each task's own copy, and with
//! `private_norms` so are the scales and shifts of the LayerNorms in the layers below: θ_t = θ_shared with those ranges
//! overwritten. With `mix` a task reads a learnt mix of all states, uniform at first, instead of the last one.
//!
//! Defaults: nothing private, no mix.
//!
//! Parameters: P; K − 1 more of each private layer; 4·H a shared layer and task with `private_norms` (the shared vector
//! keeps the places they overwrite); L + 2 a task with `mix`.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, ParameterView, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::additions::merged;
use crate::blocks::overlay::{self, Overlay, OverlayMode};
use crate::blocks::walk::{walk, walk_on};
use crate::{BuildContext, EncoderWeights, Mix, RateScales, Role, Scope, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy =
    Strategy::of::<Hard>("hard", "one encoder, one head per task", "Caruana 1997", "P", true)
        .with_source(include_str!("hard.rs"))
        .with_rates(RateScales::PLAIN.added(1.).mixing(1.));

/// The `[sharing]` section of `strategy = "hard"`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hard {
    /// How many of the top layers each task has for itself: from 0 to all of them.
    pub private_layers: usize,
    /// Whether each task has its own LayerNorms in the layers it shares.
    pub private_norms: bool,
    /// Whether heads read a learnt mix of all layers instead of the last one.
    pub mix: bool,
}

impl StrategySettings for Hard {
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        let layers = context.encoder.layers();
        if self.private_layers > layers {
            bail!("`private_layers` is {}, but the encoder has {layers} layers", self.private_layers);
        }
        let shared_layers = layers - self.private_layers;
        let everyone = context.shared();
        let shared = EncoderWeights::insert_first(context, &everyone, shared_layers)?;
        let tasks = context
            .each()
            .iter()
            .map(|scope| {
                let mut parts = shared.clone();
                for index in shared_layers..layers {
                    let part = Part::Layer(index);
                    parts.push(context.insert_part(scope, part)?);
                }
                let norms = if self.private_norms {
                    let mut own = Vec::new();
                    for index in 0..shared_layers {
                        let (name, over) =
                            (format!("layer.{index}.norms"), (OverlayMode::Replace, overlay::norms as _));
                        own.extend(Overlay::insert(
                            &scope.with_role(Role::Added),
                            &name,
                            &parts[index + 2],
                            over,
                            context,
                        )?);
                    }
                    own
                } else {
                    Vec::new()
                };
                let mix = if self.mix { Some(Mix::insert(layers + 1, scope, context)?) } else { None };
                Ok(Seen { parts, norms, mix })
            })
            .collect::<Result<Vec<Seen>>>()?;
        // Own LayerNorms part the tasks' states in the first layer.
        let common = if self.private_norms { 0 } else { shared_layers };
        Ok(Box::new(HardSharing { encoder: context.encoder.clone(), tasks, common }))
    }
}

struct HardSharing {
    encoder: Arc<Family>,
    tasks: Vec<Seen>,
    /// How many of the bottom layers are the same to all tasks.
    common: usize,
}

/// What one task sees.
struct Seen {
    /// Words, embeddings, then the layers.
    parts: Vec<Param>,
    /// Own LayerNorms of the shared layers, if they are private.
    norms: Vec<Overlay>,
    mix: Option<Mix>,
}

impl EncoderWeights {
    /// The pretrained words, embeddings and first `layers` layers in `scope`.
    fn insert_first(context: &mut BuildContext, scope: &Scope, layers: usize) -> Result<Vec<Param>> {
        Part::all(layers).map(|part| context.insert_part(scope, part)).collect()
    }
}

impl Seen {
    /// The parameter of `part`, and the own LayerNorms over it.
    fn part(&self, part: Part) -> (&Param, Option<&Overlay>) {
        match part {
            Part::Words => (&self.parts[0], None),
            Part::Embeddings => (&self.parts[1], None),
            Part::Layer(index) => (&self.parts[index + 2], self.norms.get(index)),
        }
    }

    fn view(&self, part: Part, pass: &mut Pass) -> Result<ParameterView> {
        match self.part(part) {
            (param, Some(norms)) => norms.view(param, pass),
            (param, None) => pass.view(param),
        }
    }
}

impl Sharing for HardSharing {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let Some(first) = tasks.first() else { return Ok(Vec::new()) };
        let view = |part: Part, pass: &mut Pass| self.tasks[first.0].view(part, pass);
        let common = walk(&self.encoder, tokens, self.common, pass, view, |_| Ports::default())?;
        let own = |task: &TaskId| {
            let (seen, depth, mut states) = (&self.tasks[task.0], self.encoder.layers(), common.clone());
            let view = |part: Part, pass: &mut Pass| seen.view(part, pass);
            walk_on(&self.encoder, &mut states, tokens, depth, pass, view, |_| Ports::default())?;
            match &seen.mix {
                Some(mix) => mix.of(&states),
                None => Ok(states.swap_remove(depth)),
            }
        };
        tasks.iter().map(own).collect()
    }

    /// `None` with `mix`: a mix of layers is not an encoder's weights.
    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let seen = &self.tasks[task.0];
        if seen.mix.is_some() {
            return Ok(None);
        }
        merged(&self.encoder, |part| match seen.part(part) {
            (param, Some(norms)) => norms.theta(param),
            (param, None) => Ok(param.tensor().clone()),
        })
    }
}
