//! Who shares what: sharing strategies, heads, and the multi-task model they make.
//!
//! A strategy decides which weights each task sees and how the encoder's layers are walked; the encoder itself is a
//! function of its weights and is never copied or edited. See [`Sharing`] for what a strategy answers, and
//! [`STRATEGIES`] for the list.

mod accounting;
mod blocks;
mod head;
mod model;
mod registry;
mod sharing;
mod strategies;

pub use accounting::Accounting;
pub use blocks::walk::{EncoderWeights, Mix, owned_by, per_token, walk};
pub use head::{Head, HeadSettings};
pub use model::{Model, TaskShape};
pub use registry::{Entry, STRATEGIES, find};
pub use sharing::{Bits, BuildContext, DevScores, Phase, Sharing, Strategy};
