//! The feed-forward block.

use candle_core::{Result, Tensor};

use super::Options;
use super::node::{self, Block};
use super::weights::{Gradients, Weights};
use crate::family::place;
use crate::kernel::{self, FeedForwardGradients, FeedForwardSaved, FeedForwardWeights, ProductPrecision, Real};
use crate::{Activation, ParameterView, Shape};

pub(super) struct Feed {
    activation: Activation,
    precision: ProductPrecision,
}

/// W₂·σ(W₁x + b₁), without the last bias.
pub(crate) fn feed_forward(shape: &Shape, view: &ParameterView, x: &Tensor, options: Options) -> Result<Tensor> {
    super::check_layer(shape, view)?;
    super::check_states(x, x.dim(0)?, shape.hidden)?;
    super::check_precision(x, options)?;
    node::apply(Feed::new(shape, options), x, view, options)
}

impl Feed {
    pub(super) fn new(shape: &Shape, options: Options) -> Self {
        Self { activation: shape.activation, precision: options.precision }
    }

    fn weights<'a, T: Real>(&self, weights: Weights<'a, T>) -> FeedForwardWeights<'a, T> {
        FeedForwardWeights {
            intermediate: weights.get(place::INTERMEDIATE_MAP),
            intermediate_bias: weights.get(place::INTERMEDIATE_MAP_BIAS),
            output: weights.get(place::OUTPUT_MAP),
            activation: self.activation,
            precision: self.precision,
        }
    }
}

impl Block<1> for Feed {
    const NAME: &'static str = "feed";
    type Saved<T: Real> = FeedForwardSaved<T>;

    fn forward<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) -> FeedForwardSaved<T> {
        kernel::feed_forward(x, &self.weights(weights), out)
    }

    fn answer<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) {
        kernel::feed_forward_only(x, &self.weights(weights), out);
    }

    fn recompute<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>) -> FeedForwardSaved<T> {
        FeedForwardSaved::of(x, &self.weights(weights))
    }

    fn backward<T: Real>(
        &self,
        [x]: [&[T]; 1],
        weights: Weights<T>,
        saved: FeedForwardSaved<T>,
        dout: &[T],
        [dx]: [&mut [T]; 1],
        gradients: &mut Gradients<T>,
    ) {
        let into = FeedForwardGradients {
            intermediate: gradients.take(place::INTERMEDIATE_MAP),
            intermediate_bias: gradients.take(place::INTERMEDIATE_MAP_BIAS),
            output: gradients.take(place::OUTPUT_MAP),
        };
        kernel::feed_forward_backward(x, &self.weights(weights), &saved, dout, dx, into);
    }
}
