//! A whole layer as one node: where no strategy reaches inside, the states between its four blocks stay in the
//! kernel's buffers, and their gradients never pass through candle's store.

use candle_core::{Result, Tensor};
use mtl_task::Packed;

use super::Options;
use super::attend::Attend;
use super::feed_forward::Feed;
use super::node::{self, Block};
use super::norm::AddNorm;
use super::weights::{Gradients, Weights};
use crate::kernel::{AttendSaved, Buffer, FeedForwardSaved, NormSaved, Real};
use crate::{Norm, ParameterView, Pass, Shape};

struct Layer {
    attend: Attend,
    after_attention: AddNorm,
    feed: Feed,
    after_feed_forward: AddNorm,
}

/// Attend, add and norm, feed, add and norm.
pub(crate) fn layer(
    shape: &Shape,
    view: &ParameterView,
    x: &Tensor,
    tokens: &Packed,
    options: Options,
    pass: &mut Pass,
) -> Result<Tensor> {
    super::check_layer(shape, view)?;
    let block = Layer {
        attend: Attend::new(shape, x, tokens, options, pass)?,
        after_attention: AddNorm::new(shape, Norm::Attention, pass),
        feed: Feed::new(shape, options),
        after_feed_forward: AddNorm::new(shape, Norm::Output, pass),
    };
    node::apply(block, x, view, options)
}

/// What the blocks save, and the state between the two halves, `[tokens, hidden]`.
struct LayerSaved<T: Real> {
    attend: AttendSaved<T>,
    after_attention: NormSaved<T>,
    middle: Buffer<T>,
    feed: FeedForwardSaved<T>,
    after_feed_forward: NormSaved<T>,
}

impl Block<1> for Layer {
    const NAME: &'static str = "layer";
    type Saved<T: Real> = LayerSaved<T>;

    fn forward<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) -> LayerSaved<T> {
        let (mut block, mut middle) = (Buffer::new(x.len()), Buffer::new(x.len()));
        let attend = self.attend.forward([x], weights, &mut block);
        let after_attention = self.after_attention.forward([&block, x], weights, &mut middle);
        let feed = self.feed.forward([&middle], weights, &mut block);
        let after_feed_forward = self.after_feed_forward.forward([&block, &middle], weights, out);
        LayerSaved { attend, after_attention, middle, feed, after_feed_forward }
    }

    fn answer<T: Real>(&self, [x]: [&[T]; 1], weights: Weights<T>, out: &mut [T]) {
        let (mut block, mut middle) = (Buffer::new(x.len()), Buffer::new(x.len()));
        self.attend.answer([x], weights, &mut block);
        self.after_attention.answer([&block, x], weights, &mut middle);
        self.feed.answer([&middle], weights, &mut block);
        self.after_feed_forward.answer([&block, &middle], weights, out);
    }

    fn backward<T: Real>(
        &self,
        [x]: [&[T]; 1],
        weights: Weights<T>,
        saved: LayerSaved<T>,
        dout: &[T],
        [dx]: [&mut [T]; 1],
        gradients: &mut Gradients<T>,
    ) {
        let LayerSaved { attend, after_attention, middle, feed, after_feed_forward } = saved;
        let (mut dblock, mut dmiddle) = (Buffer::new(x.len()), Buffer::new(x.len()));
        // A norm writes its inputs' gradients, from what it saved alone; the block below it adds its own.
        self.after_feed_forward.backward(
            [&[]; 2],
            weights,
            after_feed_forward,
            dout,
            [&mut dblock, &mut dmiddle],
            gradients,
        );
        self.feed.backward([&middle], weights, feed, &dblock, [&mut dmiddle], gradients);
        self.after_attention.backward([&[]; 2], weights, after_attention, &dmiddle, [&mut dblock, dx], gradients);
        self.attend.backward([x], weights, attend, &dblock, [dx], gradients);
    }
}
