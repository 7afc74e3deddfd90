//! The developers' commands, one file each.

mod bench;
mod bench_memory;
mod bench_solver;
mod bench_step;
mod check;

pub(crate) use bench::Bench;
pub(crate) use check::Check;
