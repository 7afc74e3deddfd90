//! `cargo xtask`: every command of the product, and the developers' own.

mod commands;
pub mod documents;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mtl_cli::{Context, Program};

/// Multi-task learning over pretrained BERT-style encoders.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Product(mtl_cli::Command),
    /// Measure what the project claims of its speed
    Bench(commands::Bench),
    /// Check the mechanisms of Caruana's "Multitask Learning" on generated tasks
    Caruana(commands::Caruana),
    /// Run the developers' checks: format, lints, documentation, shipped files
    Check(commands::Check),
    /// Feed the parsers with damaged files, and say which of them fail
    Fuzz(commands::Fuzz),
    /// Train an encoder by a recipe, and write it as a model's files
    Pretrain(commands::Pretrain),
    /// Measure and draw when sharing pays, on generated tasks whose relation is known
    Regimes(commands::Regimes),
    /// Harm runs in every way there is, and see that nothing is lost
    Torture(commands::Torture),
}

/// How this program is started, and which package builds it.
pub fn program() -> Program {
    Program { name: "cargo xtask".into(), package: Some("xtask".into()) }
}

impl Arguments {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Says what went wrong, where, and what would be right.
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Product(command) => command.run(context),
            Command::Bench(command) => command.run(context),
            Command::Caruana(command) => command.run(context),
            Command::Check(command) => command.run(),
            Command::Fuzz(command) => command.run(),
            Command::Pretrain(command) => command.run(context),
            Command::Regimes(command) => command.run(context),
            Command::Torture(command) => command.run(),
        }
    }
}

/// The Rust in the README and in the crates' pages compiles and holds.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    pub struct Project;
    #[doc = include_str!("../../crates/backbone/README.md")]
    pub struct Backbone;
    #[doc = include_str!("../../crates/data/README.md")]
    pub struct Data;
    #[doc = include_str!("../../crates/eval/README.md")]
    pub struct Eval;
    #[doc = include_str!("../../crates/report/README.md")]
    pub struct Report;
    #[doc = include_str!("../../crates/task/README.md")]
    pub struct Task;
    #[doc = include_str!("../../crates/train/README.md")]
    pub struct Train;
}
