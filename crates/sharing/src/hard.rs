//! Hard sharing (Caruana 1997): one encoder, one head per task.
//!
//! Every task sees θ_shared. With `private_layers = n` the top n layers are each task's own copy, and with
//! `private_norms` so are all LayerNorms and the biases they absorb: θ_t = θ_shared with those ranges overwritten.
//!
//! Parameters: encoder + K·(private layers + heads), private LayerNorms 4·hidden a layer and task.

use std::ops::Range;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Layout, Param, Part, Pass, Ports, Row, Segment, Slot, Wants};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::{Mix, Sharing, Site, Strategy, Weights, walk};

/// The `[sharing]` section of `strategy = "hard"`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hard {
    /// How many of the top layers each task has for itself.
    pub(crate) private_layers: usize,
    /// Whether each task has its own LayerNorms in the layers it shares.
    pub(crate) private_norms: bool,
    /// Whether heads read a learnt mix of all layers instead of the last one.
    pub(crate) mix: bool,
}

impl Strategy for Hard {
    fn build(self, site: &mut Site) -> anyhow::Result<Box<dyn Sharing>> {
        let layers = site.encoder.layers();
        if self.private_layers > layers {
            bail!("`private_layers` is {}, but the encoder has {layers} layers", self.private_layers);
        }
        let shared_layers = layers - self.private_layers;
        let shared = Weights::insert_first(site, "shared", shared_layers)?;
        let tasks = site
            .tasks
            .iter()
            .map(|task| {
                let owner = format!("task.{}", task.name);
                let mut parts = shared.clone();
                for index in shared_layers..layers {
                    let part = Part::Layer(index);
                    parts.push(Weights::insert_part(site.pretrained, &owner, part, site.params)?);
                }
                let norms = if self.private_norms {
                    (0..shared_layers)
                        .map(|index| Norms::insert(&owner, index, &parts[index + 2], site.params))
                        .collect::<Result<_>>()?
                } else {
                    Vec::new()
                };
                let mix = if self.mix { Some(Mix::insert(layers + 1, &owner, site.params)?) } else { None };
                Ok(Seen { parts, norms, mix })
            })
            .collect::<Result<Vec<Seen>>>()?;
        Ok(Box::new(HardSharing { encoder: site.encoder.clone(), tasks }))
    }
}

struct HardSharing {
    encoder: Arc<Family>,
    tasks: Vec<Seen>,
}

/// What one task sees.
struct Seen {
    /// Words, embeddings, then the layers.
    parts: Vec<Param>,
    /// Own LayerNorms of the shared layers, if they are private.
    norms: Vec<Norms>,
    mix: Option<Mix>,
}

impl Weights {
    /// The pretrained words, embeddings and first `layers` layers as parameters of `owner`.
    fn insert_first(site: &mut Site, owner: &str, layers: usize) -> Result<Vec<Param>> {
        Part::all(layers).map(|part| Self::insert_part(site.pretrained, owner, part, site.params)).collect()
    }
}

impl Seen {
    fn slot(&self, part: Part, pass: &mut Pass) -> Result<Slot> {
        match part {
            Part::Words => pass.slot(&self.parts[0]),
            Part::Embeddings => pass.slot(&self.parts[1]),
            Part::Layer(index) => match self.norms.get(index) {
                Some(norms) => norms.slot(&self.parts[index + 2], pass),
                None => pass.slot(&self.parts[index + 2]),
            },
        }
    }
}

impl Sharing for HardSharing {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let seen = &self.tasks[task.0];
        let depth = self.encoder.layers();
        let slot = |part: Part, pass: &mut Pass| seen.slot(part, pass);
        let mut states = walk(&self.encoder, tokens, depth, pass, slot, |_| Ports::default())?;
        match &seen.mix {
            Some(mix) => mix.of(&states),
            None => Ok(states.swap_remove(depth)),
        }
    }

    fn reach(&self, task: TaskId) -> Vec<String> {
        let seen = &self.tasks[task.0];
        let parts = seen.parts.iter().map(|param| param.name().to_string());
        let norms = seen.norms.iter().map(|norms| norms.own.name().to_string());
        parts.chain(norms).chain(seen.mix.iter().flat_map(Mix::names)).collect()
    }
}

/// One layer's LayerNorms as one task has them: all one-dimensional tensors named `…LayerNorm…` or `…layer_norm…`.
struct Norms {
    own: Param,
    /// Where they lie in the layer.
    ranges: Arc<[Range<usize>]>,
}

impl Norms {
    fn insert(owner: &str, index: usize, layer: &Param, params: &mut mtl_backbone::Params) -> Result<Self> {
        let norms = |name: &str| name.contains("LayerNorm") || name.contains("layer_norm");
        let entries: Vec<_> = layer.layout().entries().iter().filter(|entry| norms(&entry.name)).collect();
        let layout = Layout::new(entries.iter().map(|entry| (entry.name.clone(), entry.shape.clone(), false)));
        let ranges: Arc<[Range<usize>]> = entries.iter().map(|entry| entry.range.clone()).collect();
        let values = layer.tensor().detach();
        let values = ranges.iter().map(|r| values.narrow(0, r.start, r.len())).collect::<Result<Vec<Tensor>>>()?;
        let own =
            params.insert(&format!("{owner}/layer.{index}.norms"), &layout, &Flat::of(&Tensor::cat(&values, 0)?)?)?;
        Ok(Self { own, ranges })
    }

    /// θ_shared with the private ranges overwritten; dθ goes to the shared vector but for those ranges, which go to
    /// the private one.
    fn slot(&self, layer: &Param, pass: &mut Pass) -> Result<Slot> {
        let (shared, own) = (layer.tensor().detach(), self.own.tensor().detach());
        let mut pieces = Vec::new();
        let (mut at, mut taken) = (0, 0);
        for range in self.ranges.iter() {
            pieces.push(shared.narrow(0, at, range.start - at)?);
            pieces.push(own.narrow(0, taken, range.len())?);
            (at, taken) = (range.end, taken + range.len());
        }
        let length = layer.layout().len();
        if at < length {
            pieces.push(shared.narrow(0, at, length - at)?);
        }
        let theta = Tensor::cat(&pieces, 0)?;
        let (ranges, names) = (self.ranges.clone(), (layer.name().to_string(), self.own.name().to_string()));
        pass.materialise_with(&theta, layer.layout(), Wants::All, move |gradient: Segment, row: &mut Row| {
            let mut shared = gradient.dense(length)?;
            let taken: Vec<Tensor> = {
                let all = shared.tensor(&candle_core::Device::Cpu)?;
                ranges.iter().map(|range| all.narrow(0, range.start, range.len())).collect::<Result<_>>()?
            };
            let own = Flat::of(&Tensor::cat(&taken, 0)?)?;
            for range in ranges.iter() {
                match &mut shared {
                    Flat::F32(values) => values[range.clone()].fill(0.),
                    Flat::F64(values) => values[range.clone()].fill(0.),
                }
            }
            row.add(Row([(names.0, Segment::Dense(shared)), (names.1, Segment::Dense(own))].into()));
            Ok(())
        })
    }
}
