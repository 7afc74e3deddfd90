//! `cargo xtask bench`: what the project claims of its speed, measured.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use mtl_cli::Context;

use super::bench_memory::BenchMemory;
use super::bench_solver::BenchSolver;
use super::bench_step::BenchStep;

/// Measure what the project claims of its speed.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The memory of long trainings, by strategy
    Memory(BenchMemory),
    /// The Nash solver, by number of tasks and kind of Gram matrix
    Solver(BenchSolver),
    /// The training step, by case, mode, strategy and threads
    Step(BenchStep),
}

impl Bench {
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode> {
        match self.what {
            What::Memory(command) => command.run(context),
            What::Solver(command) => command.run().map(|()| ExitCode::SUCCESS),
            What::Step(command) => command.run(&context.program),
        }
    }
}
