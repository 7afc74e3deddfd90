//! Memory: what a run needs, what there is, and what to change where the one exceeds the other.

mod available;
mod batches;
mod estimate;
mod files;
mod fit;

pub use available::{Available, Bound, available, resident};
pub use estimate::MemoryEstimate;
pub use fit::readable;

pub(crate) use batches::{BatchLengths, phase_of};
pub(crate) use estimate::Sizes;
pub(crate) use files::{check_files, check_random, check_teacher};
pub(crate) use fit::check;
