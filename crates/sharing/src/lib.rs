//! Who shares what: sharing strategies, heads, and the multi-task model they make.
//!
//! A strategy decides which weights each task sees and how the encoder's layers are walked; the encoder itself is a
//! function of its weights and is never copied or edited. See [`Sharing`] for what a strategy answers, and
//! [`STRATEGIES`] for the list.

mod accounting;
mod additions;
mod delta;
mod head;
mod model;
mod overlay;
mod registry;
mod sharing;
mod target;
mod walk;

mod adapter;
mod bitfit;
mod hard;
mod lora;
mod mtl_lora;
mod pal;
mod prefix;
mod single;
mod task_norm;

pub use accounting::Accounting;
pub use head::{Head, HeadSettings};
pub use model::{Model, TaskSite};
pub use registry::{Entry, STRATEGIES, find};
pub use sharing::{Bits, DevScores, Phase, Sharing, Site, Strategy};
pub use walk::{Mix, Weights, owned_by, per_token, walk};
