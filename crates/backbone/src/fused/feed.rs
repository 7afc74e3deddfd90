//! The feed-forward block.

use candle_core::{Result, Tensor};

use super::Options;
use super::node::{self, Block};
use super::weights::{Gradients, Weights};
use crate::family::place;
use crate::kernel::{self, FeedGradients, FeedSaved, FeedWeights, Precision, Real};
use crate::{Activation, Shape, Slot};

pub(super) struct Feed {
    activation: Activation,
    precision: Precision,
}

/// W₂·σ(W₁x + b₁), without the last bias.
pub(crate) fn feed(shape: &Shape, slot: &Slot, x: &Tensor, options: Options) -> Result<Tensor> {
    super::check_layer(shape, slot)?;
    super::check_states(x, x.dim(0)?, shape.hidden)?;
    super::check_precision(x, options)?;
    node::apply(Feed::new(shape, options), x, slot, options)
}

impl Feed {
    pub(super) fn new(shape: &Shape, options: Options) -> Self {
        Self { activation: shape.activation, precision: options.precision }
    }

    fn weights<'a, T: Real>(&self, weights: Weights<'a, T>) -> FeedWeights<'a, T> {
        FeedWeights {
            widen: weights.get(place::WIDEN),
            widen_bias: weights.get(place::WIDEN_BIAS),
            narrow: weights.get(place::NARROW),
            activation: self.activation,
            precision: self.precision,
        }
    }
}

impl Block<1> for Feed {
    const NAME: &'static str = "feed";
    type Saved<T: Real> = FeedSaved<T>;

    fn forward<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) -> FeedSaved<T> {
        kernel::feed(x, &self.weights(weights), out)
    }

    fn answer<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) {
        kernel::feed_only(x, &self.weights(weights), out);
    }

    fn recompute<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>) -> FeedSaved<T> {
        FeedSaved::of(x, &self.weights(weights))
    }

    fn backward<T: Real>(
        &self,
        [x]: [&[T]; 1],
        weights: Weights<T>,
        saved: FeedSaved<T>,
        dout: &[T],
        [dx]: [&mut [T]; 1],
        gradients: &mut Gradients<T>,
    ) {
        let into = FeedGradients {
            widen: gradients.take(place::WIDEN),
            widen_bias: gradients.take(place::WIDEN_BIAS),
            narrow: gradients.take(place::NARROW),
        };
        kernel::feed_backward(x, &self.weights(weights), &saved, dout, dx, into);
    }
}
