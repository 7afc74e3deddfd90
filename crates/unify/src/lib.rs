//! Separately trained encoders into one model: model merging.
//!
//! K models were fine-tuned from one ancestor, each on a task of its own. A [`Method`] makes one set of weights of them
//! ([`Merged`]), and some methods keep a small addition for each task: masks, or low-rank deltas. All arithmetic is on
//! plain vectors, in f64; there is no tensor library, device or file here. [`methods`] has a file for each method with
//! its formula, its paper and where published code deviates; a [`Registry<Method>`](mtl_task::Registry) holds them by
//! name, and a program's own beside them.
//!
//! Notation of the module docs: θ₀ is the ancestor, θₖ the model of task k, τₖ = θₖ − θ₀ its task vector, K the number
//! of models, θ the result. For a matrix, W and Δ stand for θ and τ, `[out, in]` as linear layers are stored.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod addition;
mod each;
mod inputs;
mod linear;
mod method;
pub mod methods;
mod select;
mod settings;
mod signs;
mod svd;

pub use addition::{Addition, Mask, Merged, Part};
pub use inputs::{Inputs, Model, Tensor, Tensors};
pub use method::{Merge, Method, Needs};

/// The Rust in the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
