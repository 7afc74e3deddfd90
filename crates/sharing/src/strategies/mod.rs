//! The strategies, one file or folder each.

pub(crate) mod adapter;
pub(crate) mod bitfit;
pub(crate) mod cross_stitch;
pub(crate) mod dselect_k;
pub(crate) mod hard;
pub(crate) mod hierarchical;
pub(crate) mod lora;
pub(crate) mod mmoe;
pub(crate) mod mtan;
pub(crate) mod mtl_lora;
pub(crate) mod pal;
pub(crate) mod ple;
pub(crate) mod prefix;
pub(crate) mod single;
pub(crate) mod single_small;
pub(crate) mod sluice;
pub(crate) mod soft;
pub(crate) mod sparse;
pub(crate) mod task_norm;
pub(crate) mod tensor;
