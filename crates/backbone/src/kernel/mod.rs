//! The CPU kernel of a post-LayerNorm transformer layer: pure functions on slices of f32 or f64, each with its
//! hand-written backward.
//!
//! Tokens are packed, `[tokens, hidden]` row by row. A forward returns what its backward needs in buffers that go back
//! to a pool when dropped; gradients of weights are *added* to the slices given, and `None` skips their computation.
//! Work is cut into pieces of a fixed size and reductions run over those pieces in order, so the bits of a result do
//! not depend on the number of threads.
//!
//! Loops are compiled twice on x86-64, for AVX2 and for any CPU, and chosen at run time; the matrix products are those
//! of the `gemm` crate, which chooses likewise. `MTL_KERNEL=scalar` in the environment forces plain loops everywhere.
#![allow(unsafe_code)]

mod activation;
mod attend;
#[cfg(target_arch = "x86_64")]
mod bf16;
mod dropout;
mod embed;
mod feed_forward;
mod gather;
mod norm;
mod pool;
mod product;
mod real;
mod simd;
mod sums;
pub mod vector;

/// Elements of a vector that a thread takes at once, where each costs a few operations.
pub(crate) const CHUNK: usize = 1 << 14;

pub use attend::{AttendGradients, AttendSaved, AttendWeights, Attention, attend, attend_backward};
pub use dropout::Dropout;
pub use embed::{EmbedGradients, EmbedWeights, Places, embed, embed_backward};
pub use feed_forward::{
    FeedForwardGradients, FeedForwardSaved, FeedForwardWeights, feed_forward, feed_forward_backward, feed_forward_only,
};
pub use gather::{gather, scatter};
pub use norm::{NormGradients, NormSaved, NormWeights, add_norm, add_norm_backward};
pub use pool::Buffer;
pub use product::{Matrix, MatrixMut, ProductPrecision, Threads, product, product_in};
pub use real::Real;
