//! The vocabulary of multi-task learning, and what a task asks of a model.
//!
//! Everything above speaks in these words: a [`Label`] is one example's truth or answer, [`Packed`] is a batch of
//! tokenised text, [`Key`](rng::Key) names a stream of random numbers. With the default feature `candle` the trait
//! [`Task`] and its kinds come along; without it this crate has no tensor in it, so that rules and metrics built on
//! it stay light.

mod batch;
mod label;
mod members;
mod names;
mod page;
pub mod rng;
mod scheme;
mod spec;

pub use batch::{Encoded, Packed, Step, TaskBatch};
pub use label::{Answer, Cell, Label, Likelihood, Progress, Reads, TaskId};
pub use members::{Member, Registry};
pub use names::{member, nearest};
pub use page::page;
pub use scheme::{Contradiction, Misfit, Scheme, Side, SpanTags, Tag};
pub use spec::{Masking, Scale, TaskSpec};

#[cfg(feature = "candle")]
pub mod kinds;
#[cfg(feature = "candle")]
mod soft;
#[cfg(feature = "candle")]
mod task;

#[cfg(feature = "candle")]
pub use soft::Soft;
#[cfg(feature = "candle")]
pub use task::{Kind, Task, build, headline_first};
