//! The attention block.

use candle_core::{Result, Tensor};
use mtl_task::Packed;

use super::Options;
use super::node::{self, Block};
use super::weights::{Gradients, Weights};
use crate::family::place;
use crate::kernel::{self, AttendGradients, AttendSaved, AttendWeights, Attention, Dropout, ProductPrecision, Real};
use crate::{ParameterView, Pass, Shape};

pub(super) struct Attend {
    offsets: Vec<usize>,
    lengths: Vec<usize>,
    heads: usize,
    dropout: Dropout,
    precision: ProductPrecision,
}

/// Softmax attention over each sequence, projected by W_o, without its bias.
pub(crate) fn attend(
    shape: &Shape,
    view: &ParameterView,
    x: &Tensor,
    tokens: &Packed,
    options: Options,
    pass: &mut Pass,
) -> Result<Tensor> {
    super::check_layer(shape, view)?;
    node::apply(Attend::new(shape, x, tokens, options, pass)?, x, view, options)
}

impl Attend {
    pub(super) fn new(shape: &Shape, x: &Tensor, tokens: &Packed, options: Options, pass: &mut Pass) -> Result<Self> {
        super::check_states(x, tokens.tokens(), shape.hidden)?;
        super::check_precision(x, options)?;
        let Packed { offsets, lengths, .. } = tokens;
        if offsets.first() != Some(&0) || offsets.last() != Some(&tokens.tokens()) || offsets.len() != lengths.len() + 1
        {
            candle_core::bail!("the sequences at {offsets:?} do not fill {} tokens", tokens.tokens());
        }
        for (sequence, (pair, &length)) in offsets.windows(2).zip(lengths).enumerate() {
            let extent = pair[1].saturating_sub(pair[0]);
            if pair[1] < pair[0] || length > extent || (length == 0 && extent > 0) {
                candle_core::bail!("sequence {sequence} has {length} tokens in a place for {extent}; it needs one");
            }
        }
        Ok(Self {
            offsets: offsets.clone(),
            lengths: lengths.clone(),
            heads: shape.heads,
            dropout: pass.next_dropout(shape.attention_dropout),
            precision: options.precision,
        })
    }

    fn attention(&self) -> Attention<'_> {
        Attention { offsets: &self.offsets, lengths: &self.lengths, heads: self.heads, dropout: self.dropout }
    }

    fn weights<'a, T: Real>(&self, weights: Weights<'a, T>) -> AttendWeights<'a, T> {
        AttendWeights {
            inward: weights.span(place::QUERY, place::VALUE),
            inward_bias: weights.span(place::QUERY_BIAS, place::VALUE_BIAS),
            outward: weights.get(place::ATTENDED),
            precision: self.precision,
        }
    }
}

impl Block<1> for Attend {
    const NAME: &'static str = "attend";
    type Saved<T: Real> = AttendSaved<T>;

    fn forward<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) -> AttendSaved<T> {
        kernel::attend(x, &self.weights(weights), &self.attention(), out)
    }

    fn recompute<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>) -> AttendSaved<T> {
        AttendSaved::of(x, &self.weights(weights), &self.attention())
    }

    fn backward<T: Real>(
        &self,
        [x]: [&[T]; 1],
        weights: Weights<T>,
        saved: AttendSaved<T>,
        dout: &[T],
        [dx]: [&mut [T]; 1],
        gradients: &mut Gradients<T>,
    ) {
        let into = AttendGradients {
            inward: [place::QUERY, place::KEY, place::VALUE].map(|place| gradients.take(place)),
            inward_bias: [place::QUERY_BIAS, place::KEY_BIAS, place::VALUE_BIAS].map(|place| gradients.take(place)),
            outward: gradients.take(place::ATTENDED),
        };
        kernel::attend_backward(x, &self.weights(weights), &self.attention(), &saved, dout, dx, into);
    }
}
