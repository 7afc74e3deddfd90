//! The command line of mtl, as a library.
//!
//! [`run`] is the binary `mtl`, and the door for command lines of one's own, which have further members in their
//! registries. A command line with commands of its own too takes [`Command`] into its own, and [`parse`] and [`end`]:
//! that is how `cargo xtask` is made.

mod allocator;
mod assets;
mod checkout;
pub mod commands;
mod context;
pub mod device;
mod folder;
mod local;
pub mod locate;
pub mod output;
mod printable;
mod sink;
mod tasks;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

pub use allocator::{Allocator, OUT_OF_MEMORY};
pub use assets::differing;
pub use checkout::checkout;
pub use commands::Command;
pub use context::{Context, Program};
pub use mtl_train::Registries;

/// Multi-task learning over pretrained BERT-style encoders.
#[derive(Debug, Parser)]
#[command(name = "mtl", version, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Does what the process's arguments ask for, with the members of `registries`.
pub fn run(registries: Registries) -> ExitCode {
    let program = Program::from_arguments();
    let arguments: Arguments = parse(&program);
    let context = Context { registries: Arc::new(registries), program };
    end(arguments.command.run(&context), &context.program)
}

/// The process's arguments, for a program that is called `program` in its help. Ends the process if they ask for help,
/// or are not understood. From here on a thread that the system refuses ends the process with a sentence, as memory that
/// it refuses does with [`Allocator`].
pub fn parse<T: CommandFactory + FromArgMatches>(program: &Program) -> T {
    allocator::watch_threads();
    let matches = program.named(T::command()).get_matches();
    T::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// What to exit with after a command: its own code, or a message and failure. A reader who has read enough is no
/// failure.
pub fn end(ended: anyhow::Result<ExitCode>, program: &Program) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            // Libraries name commands as they are typed in a checkout.
            let message = format!("error: {error:#}").replace("`cargo xtask ", &format!("`{} ", program.name));
            output::note(&output::shortened(&message));
            ExitCode::FAILURE
        }
    }
}

/// Arguments that change a recipe.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Overrides {
    /// Change a key of the recipe, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// The Rust in the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
