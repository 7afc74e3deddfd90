//! The commands, one file each.

mod bench;
mod bench_solver;
mod bench_step;
mod check;
mod compare;
mod data;
mod diagnose;
mod evaluate;
mod fetch;
mod list;
mod predict;
mod toy;
mod train;
mod weigh;

use std::process::ExitCode;

use clap::Subcommand;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure what the project claims of its speed
    Bench(bench::Bench),
    /// Run the developers' checks: format, lints, documentation
    Check(check::Check),
    /// Compare arms over tasks and seeds, by one frozen plan
    Compare(compare::Compare),
    /// Look at datasets before they are trusted
    Data(data::Data),
    /// Say how tasks get on with each other while they train
    Diagnose(diagnose::Diagnose),
    /// Score a run's model again
    Evaluate(evaluate::Evaluate),
    /// Fetch the model and datasets of a recipe
    Fetch(fetch::Fetch),
    /// List what there is: models, datasets, strategies, rules, …
    List(list::List),
    /// Answer texts with a run's model
    Predict(predict::Predict),
    /// Run the two-task illustration of the Nash-MTL paper by every rule
    Toy(toy::Toy),
    /// Fine-tune an encoder on several tasks
    Train(train::Train),
    /// Weigh given task gradients by a rule
    Weigh(weigh::Weigh),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// Says what went wrong, where, and what would be right.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Bench(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Compare(command) => command.run(),
            Self::Data(command) => command.run(),
            Self::Diagnose(command) => command.run(),
            Self::Evaluate(command) => command.run(),
            Self::Fetch(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Predict(command) => command.run(),
            Self::Toy(command) => command.run(),
            Self::Train(command) => command.run(),
            Self::Weigh(command) => command.run(),
        }
    }
}
