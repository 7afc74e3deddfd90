//! Who shares what: sharing strategies, heads, and the multi-task model they make.
//!
//! A strategy decides which weights each task sees and how the encoder's layers are walked; the encoder itself is a
//! function of its weights and is never copied or edited. See [`Sharing`] for what a strategy answers, and
//! [`STRATEGIES`] for the list.

mod accounting;
mod blocks;
mod change;
mod context;
mod head;
mod model;
mod registry;
mod sharing;
pub mod strategies;
mod strategy;
mod topology;

pub use accounting::Accounting;
pub use blocks::walk::{EncoderWeights, Mix, per_token, walk};
pub use change::{Change, Moments, NoMoments, SavedLayout, Structure};
pub use context::{BuildContext, Scope};
pub use head::{Head, HeadSettings};
pub use model::{Heads, Model, TaskShape};
pub use registry::{STRATEGIES, find};
pub use sharing::{Bits, DevScores, NoDevScores, Phase, Sharing, StepView, StrategySettings};
pub use strategy::Strategy;
pub use topology::{Owner, TaskSet, Topology};
