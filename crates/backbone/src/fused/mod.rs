//! The ops of the BERT family through the CPU kernel, as nodes of candle's graph.
//!
//! A node reads states and one part's flat θ. Its backward answers the gradients of the states, adds dθ straight into
//! the view's accumulator, and returns none for θ: candle permits that for a leaf that it tracks, so that no gradient of θ's
//! length is ever made, zeroed and added. What the backward needs beyond the inputs waits in the kernel's buffers
//! until it has run, or until the graph is dropped. A second backward through the same graph, or one of an encoder
//! that recomputes, makes it anew.

mod attend;
mod embed;
mod feed_forward;
mod layer;
mod node;
mod norm;
mod weights;
mod words;

pub(crate) use attend::attend;
pub(crate) use embed::embed;
pub(crate) use feed_forward::feed_forward;
pub(crate) use layer::layer;
pub(crate) use norm::add_norm;
pub(crate) use words::words;

use candle_core::{DType, Result, Tensor};

use crate::kernel::ProductPrecision;
use crate::{ParameterView, Shape};

/// How the kernel works.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Whether nothing but inputs is saved for a backward.
    pub(crate) recompute: bool,
    /// Of the products with a layer's weights.
    pub(crate) precision: ProductPrecision,
}

/// Whether the kernel computes in tensors like this one.
pub(crate) fn computes(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// Refuses a view that holds something else than one of `shape`'s layers.
fn check_layer(shape: &Shape, view: &ParameterView) -> Result<()> {
    let Shape { hidden, intermediate, .. } = *shape;
    check_length(view, "layer", 4 * hidden * hidden + 9 * hidden + 2 * hidden * intermediate + intermediate)
}

/// Refuses a view whose vector is not the one of `length` elements that `place` reads.
fn check_length(view: &ParameterView, place: &str, length: usize) -> Result<()> {
    let (laid_out, given) = (view.layout.len(), view.theta.elem_count());
    if laid_out != length || given != length {
        candle_core::bail!(
            "the {place} of this encoder has {length} parameters; its view lays out {laid_out} and holds {given}"
        );
    }
    Ok(())
}

/// Refuses tensors that the products cannot round, and machines that cannot round them.
fn check_precision(x: &Tensor, options: Options) -> Result<()> {
    options.precision.check_kernel()?;
    options.precision.check_states(x)
}

/// Refuses states that are not `[tokens, width]`.
fn check_states(x: &Tensor, tokens: usize, width: usize) -> Result<()> {
    if x.dims() != [tokens, width] {
        candle_core::bail!("states of {tokens} tokens have shape [{tokens}, {width}], found {:?}", x.dims());
    }
    Ok(())
}
