//! BERT-style encoders as functions of their weights.
//!
//! An [`Encoder`] holds shapes and names; its weights are an argument, one flat vector per [`Part`]. Whoever owns the
//! weights decides which vector a task sees, and gathers its gradient in a [`Row`].

pub mod checkpoint;
mod encoder;
mod family;
mod flat;
mod fused;
pub mod kernel;
mod layout;
mod params;
mod pass;
mod pooling;
mod reference;
mod registry;
mod segment;

mod bert;
mod distilbert;
mod electra;
mod roberta;

pub use encoder::{Encoder, Norm, Ports, Prefix, Transform};
pub use family::{Activation, Family, Path, Shape};
pub use flat::Flat;
pub use layout::{Entry, Layout, Part};
pub use params::{Param, Params};
pub use pass::{Pass, Slot, Wants, gather, values_of};
pub use pooling::{Pooling, anchors, pool};
pub use registry::{ARCHITECTURES, Architecture, Pretrained, pretrained, random};
pub use segment::{Row, Segment, Sink, SparseRows};
