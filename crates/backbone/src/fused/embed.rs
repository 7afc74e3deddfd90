//! The state below the first layer, from word vectors.

use candle_core::{Result, Tensor};
use mtl_task::Packed;

use super::Options;
use super::node::{self, Block};
use super::weights::{Gradients, Weights};
use crate::kernel::{self, Dropout, EmbedGradients, EmbedWeights, NormSaved, Places, Real};
use crate::{ParameterView, Pass, Shape};

struct Embed {
    positions: Vec<u32>,
    types: Vec<u32>,
    /// Place of γ: behind the position table, and the type table if there is one.
    gamma: usize,
    epsilon: f64,
    dropout: Dropout,
}

/// dropout(LN(words + positions + segments)), projected to the states' width where the table is narrower. The
/// projection is one small product in candle's ops.
pub(crate) fn embed(
    shape: &Shape,
    view: &ParameterView,
    words: &Tensor,
    tokens: &Packed,
    options: Options,
    pass: &mut Pass,
) -> Result<Tensor> {
    let Shape { width, hidden, .. } = *shape;
    let projection = if width == hidden { 0 } else { hidden * (width + 1) };
    super::check_length(view, "embeddings part", (shape.positions + shape.types + 2) * width + projection)?;
    super::check_states(words, tokens.tokens(), width)?;
    if tokens.segments.len() != tokens.tokens() {
        candle_core::bail!("{} segments for {} tokens", tokens.segments.len(), tokens.tokens());
    }
    // Architectures with a single segment read row 0 whatever the tokenizer says.
    let last = shape.types.saturating_sub(1) as u32;
    let block = Embed {
        positions: tokens.positions().iter().map(|position| position + shape.first_position as u32).collect(),
        types: tokens.segments.iter().map(|&segment| segment.min(last)).collect(),
        gamma: if shape.types > 0 { 2 } else { 1 },
        epsilon: shape.epsilon,
        dropout: pass.next_dropout(shape.hidden_dropout),
    };
    let next = block.gamma + 2;
    let state = node::apply(block, words, view, options)?;
    if width == hidden {
        return Ok(state);
    }
    let (weight, bias) = (pass.leaf(view, next)?, pass.leaf(view, next + 1)?);
    state.matmul(&weight.t()?)?.broadcast_add(&bias)
}

impl Embed {
    fn places(&self) -> Places<'_> {
        Places { positions: &self.positions, types: &self.types }
    }

    fn weights<'a, T: Real>(&self, weights: Weights<'a, T>) -> EmbedWeights<'a, T> {
        EmbedWeights {
            positions: weights.get(0),
            types: if self.gamma > 1 { weights.get(1) } else { &[] },
            gamma: weights.get(self.gamma),
            beta: weights.get(self.gamma + 1),
            epsilon: self.epsilon,
        }
    }
}

impl Block<1> for Embed {
    const NAME: &'static str = "embed";
    type Saved<T: Real> = NormSaved<T>;

    fn forward<T: Real>(&self, [words]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) -> NormSaved<T> {
        kernel::embed(words, &self.weights(weights), self.places(), self.dropout, out)
    }

    fn backward<T: Real>(
        &self,
        _: [&[T]; 1],
        weights: Weights<T>,
        saved: NormSaved<T>,
        dout: &[T],
        [dwords]: [&mut [T]; 1],
        gradients: &mut Gradients<T>,
    ) {
        let into = EmbedGradients {
            positions: gradients.take(0),
            types: if self.gamma > 1 { gradients.take(1) } else { None },
            gamma: gradients.take(self.gamma),
            beta: gradients.take(self.gamma + 1),
        };
        let gamma = weights.get(self.gamma);
        kernel::embed_backward(&saved, gamma, self.places(), self.dropout, dout, dwords, into);
    }
}
