//! Who shares what: sharing strategies, heads, and the multi-task model they make.
//!
//! A strategy decides which weights each task sees and how the encoder's layers are walked; the encoder itself is a
//! function of its weights and is never copied or edited. See [`Sharing`] for what a strategy answers, and
//! [`STRATEGIES`] for the list.

mod accounting;
mod additions;
mod delta;
mod experts;
mod head;
mod model;
mod overlay;
mod price;
mod registry;
mod sharing;
mod spectrum;
mod stitch;
mod target;
mod trunk;
mod walk;

mod adapter;
mod bitfit;
mod cross_stitch;
mod dselect_k;
mod hard;
mod hierarchical;
mod lora;
mod mmoe;
mod mtan;
mod mtl_lora;
mod pal;
mod ple;
mod prefix;
mod single;
mod single_small;
mod sluice;
mod soft;
mod sparse;
mod task_norm;
mod tensor;

pub use accounting::Accounting;
pub use head::{Head, HeadSettings};
pub use model::{Model, TaskSite};
pub use registry::{Entry, STRATEGIES, find};
pub use sharing::{Bits, DevScores, Phase, Sharing, Site, Strategy};
pub use walk::{Mix, Weights, owned_by, per_token, walk};
