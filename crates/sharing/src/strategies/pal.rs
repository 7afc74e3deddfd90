//! Projected attention layers (Stickland and Murray 2019): small attention layers beside those of a shared encoder.
//!
//! To the sum below each layer's last LayerNorm task t adds σ(V_t·MH_tl(E_t·x)), x being the layer's input: a
//! projection E to a narrow width, multi-head self-attention MH there without an output matrix, a projection V back,
//! and σ the GELU. E and V are the task's and serve all its layers; query, key and value maps are the layer's too.
//! Weights start N(0, 0.02²), V and all biases at 0, so that training starts at the pretrained encoder.
//!
//! Defaults: 6 heads, as the authors' code has, and for the width the smallest multiple of them from 17/64 of H on, which
//! is the paper's 204 at its 768 and 102 at 384; the encoder trained by all tasks, as in the paper.
//! Deviations: V starts at 0 where the authors draw it like the rest; attention probabilities see no dropout. That σ
//! stands after V and not before it is the authors' code.
//!
//! Parameters: P + K·(2·H·m + m + H + 3·L·(m² + m)) with m the width.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{D, Result, Tensor};
use mtl_backbone::{Encoder, Family, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::additions::{Additions, Map, base};
use crate::{BuildContext, EncoderWeights, RateScales, Sharing, Strategy, StrategySettings, walk};

/// Deviation of the initial weights.
const DEVIATION: f64 = 0.02;

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Pal>(
    "pal",
    "one encoder, each task's own small attention layers beside its layers",
    "Stickland and Murray 2019",
    "P + K·(2·H·m + m + H + 3·L·(m² + m)), m the width (6·⌈17·H/384⌉)",
    true,
)
.with_source(include_str!("pal.rs"))
.with_rates(RateScales::PLAIN.added(1.));

/// The `[sharing]` section of `strategy = "pal"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pal {
    /// m, width of the attention beside the layers: a multiple of `heads`; 0 for the smallest one from 17/64 of the
    /// encoder's width on.
    pub width: usize,
    /// Number of its heads; at least 1.
    pub heads: usize,
    /// Whether all tasks together train the encoder.
    pub train_base: bool,
}

impl Default for Pal {
    fn default() -> Self {
        Self { width: 0, heads: 6, train_base: true }
    }
}

impl StrategySettings for Pal {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) {
            bail!("`width` is {} and `heads` {}; the width must be a multiple of the heads", self.width, self.heads);
        }
        Ok(())
    }

    fn shares(&self) -> Option<bool> {
        Some(self.train_base)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let base = base(context, self.train_base)?;
        let (layers, hidden) = (base.layers(), context.encoder.hidden());
        let width = if self.width == 0 { derived(hidden, self.heads) } else { self.width };
        let own = Additions::build(context, false, |context, scope| {
            let mut map = |name: &str, sizes: (usize, usize), deviation: f64| {
                Map::insert(context, scope, &format!("pal.{name}"), sizes, deviation)
            };
            Ok(Own {
                down: map("down", (width, hidden), DEVIATION)?,
                up: map("up", (hidden, width), 0.)?,
                layers: (0..layers)
                    .map(|index| {
                        let mut map = |name| map(&format!("layer.{index}.{name}"), (width, width), DEVIATION);
                        Ok([map("query")?, map("key")?, map("value")?])
                    })
                    .collect::<Result<_>>()?,
            })
        })?;
        Ok(Box::new(Beside { encoder: context.encoder.clone(), base, heads: self.heads, own }))
    }
}

/// The smallest multiple of `heads` from 17/64 of `hidden` on, 204 of 768 being the paper's.
fn derived(hidden: usize, heads: usize) -> usize {
    (17 * hidden).div_ceil(64 * heads).max(1) * heads
}

/// What one task has beside the encoder.
struct Own {
    down: Map,
    up: Map,
    /// Query, key and value of every layer.
    layers: Vec<[Map; 3]>,
}

impl Own {
    /// What the task adds beside layer `index`, `[tokens, hidden]` from the layer's input.
    fn beside(&self, index: usize, x: &Tensor, heads: usize, texts: &Texts) -> Result<Tensor> {
        let narrow = texts.spread(&self.down.apply(x)?)?;
        let [query, key, value] = &self.layers[index];
        let attention_output =
            texts.attend(query.apply(&narrow)?, key.apply(&narrow)?, value.apply(&narrow)?, heads)?;
        self.up.apply(&texts.gather(&attention_output)?)?.gelu_erf()
    }
}

/// Where the packed texts stand in a rectangle `[texts · extent, …]`, for batched products.
struct Texts {
    count: usize,
    extent: usize,
    /// For each place of the rectangle a packed token, and back; nothing to do if the tokens are a rectangle already.
    places: Option<(Tensor, Tensor)>,
    /// 0 where a token carries text, very negative elsewhere, `[texts, 1, 1, extent]`.
    mask: Tensor,
}

impl Texts {
    fn of(tokens: &Packed, like: &Tensor) -> Result<Self> {
        let device = like.device();
        let extents: Vec<usize> = tokens.offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (count, extent) = (extents.len(), extents.iter().copied().max().unwrap_or(0));
        let places = if tokens.common_extent().is_some() {
            None
        } else {
            let (mut spread, mut gather) = (Vec::new(), Vec::new());
            for (text, &length) in extents.iter().enumerate() {
                // Places after a text repeat its first token; the mask hides them, and nothing gathers them.
                let start = tokens.offsets[text];
                spread.extend((0..extent).map(|at| (start + if at < length { at } else { 0 }) as u32));
                gather.extend((0..length).map(|at| (text * extent + at) as u32));
            }
            Some((Tensor::new(spread, device)?, Tensor::new(gather, device)?))
        };
        let row = |length: usize| (0..extent).map(move |at| if at < length { 0f32 } else { -1e30 });
        let mask: Vec<f32> = tokens.lengths.iter().flat_map(|&length| row(length)).collect();
        let mask = Tensor::from_vec(mask, (count, 1, 1, extent), device)?.to_dtype(like.dtype())?;
        Ok(Self { count, extent, places, mask })
    }

    fn spread(&self, x: &Tensor) -> Result<Tensor> {
        self.places.as_ref().map_or_else(|| Ok(x.clone()), |(spread, _)| x.index_select(spread, 0))
    }

    fn gather(&self, x: &Tensor) -> Result<Tensor> {
        self.places.as_ref().map_or_else(|| Ok(x.clone()), |(_, gather)| x.index_select(gather, 0))
    }

    /// Softmax attention within each text, `[texts · extent, width]` from queries, keys and values of that shape.
    fn attend(&self, query: Tensor, key: Tensor, value: Tensor, heads: usize) -> Result<Tensor> {
        let (rows, width) = query.dims2()?;
        let split =
            |x: Tensor| x.reshape((self.count, self.extent, heads, width / heads))?.transpose(1, 2)?.contiguous();
        let (query, key, value) = (split(query)?, split(key)?, split(value)?);
        let scores = (query.matmul(&key.t()?)? * (1. / ((width / heads) as f64).sqrt()))?;
        let probabilities = candle_nn::ops::softmax(&scores.broadcast_add(&self.mask)?, D::Minus1)?;
        probabilities.matmul(&value)?.transpose(1, 2)?.reshape((rows, width))
    }
}

struct Beside {
    encoder: Arc<Family>,
    base: EncoderWeights,
    heads: usize,
    own: Additions<Own>,
}

impl Sharing for Beside {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (own, depth) = (self.own.of(task), self.encoder.layers());
        let texts = Texts::of(tokens, self.base.part(Part::Words).tensor())?;
        let texts = &texts;
        let beside = |index: usize| move |x: &Tensor| own.beside(index, x, self.heads, texts);
        let beside: Vec<_> = (0..depth).map(beside).collect();
        let view = |part: Part, pass: &mut Pass| pass.view(self.base.part(part));
        let ports = |index: usize| Ports { beside: Some(&beside[index]), ..Ports::default() };
        Ok(walk(&self.encoder, tokens, depth, pass, view, ports)?.swap_remove(depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_follows_the_encoders() {
        let widths = [(768, 6, 204), (768, 12, 204), (384, 6, 102), (312, 6, 84), (128, 6, 36), (16, 6, 6), (1, 5, 5)];
        for (hidden, heads, width) in widths {
            assert_eq!(derived(hidden, heads), width, "{hidden} by {heads} heads");
        }
    }
}
