//! The normalised sum after a block.

use candle_core::{Result, Tensor};

use super::Options;
use super::node::{self, Block};
use super::weights::{Gradients, Weights};
use crate::family::place;
use crate::kernel::{self, Dropout, NormGradients, NormSaved, NormWeights, Real};
use crate::{Norm, ParameterView, Pass, Shape};

pub(super) struct AddNorm {
    bias: usize,
    gamma: usize,
    beta: usize,
    epsilon: f64,
    dropout: Dropout,
}

/// LN(dropout(y + bias) + residual).
pub(crate) fn add_norm(
    shape: &Shape,
    norm: Norm,
    view: &ParameterView,
    y: &Tensor,
    residual: &Tensor,
    options: Options,
    pass: &mut Pass,
) -> Result<Tensor> {
    super::check_layer(shape, view)?;
    let tokens = residual.dim(0)?;
    super::check_states(y, tokens, shape.hidden)?;
    super::check_states(residual, tokens, shape.hidden)?;
    node::apply_to_both(AddNorm::new(shape, norm, pass), [y, residual], view, options)
}

impl AddNorm {
    pub(super) fn new(shape: &Shape, norm: Norm, pass: &mut Pass) -> Self {
        let [bias, gamma, beta] = place::norm(norm);
        Self { bias, gamma, beta, epsilon: shape.epsilon, dropout: pass.next_dropout(shape.hidden_dropout) }
    }

    fn weights<'a, T: Real>(&self, weights: Weights<'a, T>) -> NormWeights<'a, T> {
        NormWeights {
            bias: weights.get(self.bias),
            gamma: weights.get(self.gamma),
            beta: weights.get(self.beta),
            epsilon: self.epsilon,
        }
    }
}

impl Block<2> for AddNorm {
    const NAME: &'static str = "add_norm";
    type Saved<T: Real> = NormSaved<T>;

    fn forward<T: Real>(&self, [y, residual]: [&[T]; 2], weights: Weights<T>, out: &mut [T]) -> NormSaved<T> {
        kernel::add_norm(y, residual, &self.weights(weights), self.dropout, out)
    }

    fn backward<T: Real>(
        &self,
        _: [&[T]; 2],
        weights: Weights<T>,
        saved: NormSaved<T>,
        dout: &[T],
        [dy, dresidual]: [&mut [T]; 2],
        gradients: &mut Gradients<T>,
    ) {
        let into = NormGradients {
            bias: gradients.take(self.bias),
            gamma: gradients.take(self.gamma),
            beta: gradients.take(self.beta),
        };
        kernel::add_norm_backward(&saved, weights.get(self.gamma), self.dropout, dout, dy, dresidual, into);
    }
}
