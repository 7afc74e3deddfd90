//! The developers' commands, one file each.

mod bench;
mod bench_memory;
mod bench_solver;
mod bench_step;
mod caruana;
mod check;
mod fuzz;
mod pretrain;
mod regimes;
mod torture;

pub(crate) use bench::Bench;
pub(crate) use caruana::Caruana;
pub(crate) use check::Check;
pub(crate) use fuzz::Fuzz;
pub(crate) use pretrain::Pretrain;
pub(crate) use regimes::Regimes;
pub(crate) use torture::Torture;
