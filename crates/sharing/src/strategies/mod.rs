//! The strategies, one file or folder each.

pub mod adapter;
pub mod bitfit;
pub mod cross_stitch;
pub mod dselect_k;
pub mod hard;
pub mod hierarchical;
pub mod lora;
pub mod mmoe;
pub mod mtan;
pub mod mtl_lora;
pub mod pal;
pub mod ple;
pub mod prefix;
pub mod single;
pub mod single_small;
pub mod sluice;
pub mod soft;
pub mod sparse;
pub mod task_norm;
pub mod tensor;
