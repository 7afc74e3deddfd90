//! The command line of mtl as a library, so that its parts can be tested.

pub mod commands;
pub mod compare;
mod device;
pub mod fetch;
pub mod locate;
mod progress;

use std::process::ExitCode;

use clap::Parser;

/// Multi-task learning over pretrained BERT-style encoders.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

impl Arguments {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Says what went wrong, where, and what would be right.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.command.run()
    }
}

/// The Rust in the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
