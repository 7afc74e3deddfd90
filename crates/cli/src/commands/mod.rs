//! The commands, one file each.

mod choose;
mod compare;
mod data;
mod diagnose;
mod dry_run;
mod evaluate;
mod explain;
mod fetch;
mod init;
mod list;
mod predict;
mod toy;
mod train;
mod unify;
mod weigh;

pub use list::{minilm, strategies};
pub use weigh::weighed;

use std::process::ExitCode;

use clap::Subcommand;

use crate::Context;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find out how the tasks of a recipe should share, and train them so
    Choose(choose::Choose),
    /// Compare arms over tasks and seeds, by one frozen plan
    Compare(compare::Compare),
    /// Check datasets before they are trusted
    Data(data::Data),
    /// Measure the interactions between tasks while they train
    Diagnose(diagnose::Diagnose),
    /// Score a run's model again
    Evaluate(evaluate::Evaluate),
    /// Explain a member of a registry: a strategy, a rule, a metric, …
    Explain(explain::Explain),
    /// Fetch the model and datasets of a recipe
    Fetch(fetch::Fetch),
    /// Write manifests and a recipe for files of your own, and say what was guessed
    Init(init::Init),
    /// List what there is: models, datasets, strategies, rules, …
    List(list::List),
    /// Predict labels of texts with a run's model
    Predict(predict::Predict),
    /// Run the two-task illustration of the Nash-MTL paper by every rule
    Toy(toy::Toy),
    /// Fine-tune an encoder on several tasks
    Train(train::Train),
    /// Merge the encoders of single-task runs, and score what comes out on dev
    Unify(unify::Unify),
    /// Weigh given task gradients by a rule
    Weigh(weigh::Weigh),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// Says what went wrong, where, and what would be right.
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Choose(command) => command.run(context),
            Self::Compare(command) => command.run(context),
            Self::Data(command) => command.run(context),
            Self::Diagnose(command) => command.run(context),
            Self::Evaluate(command) => command.run(context),
            Self::Explain(command) => command.run(context),
            Self::Fetch(command) => command.run(context),
            Self::Init(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Predict(command) => command.run(context),
            Self::Toy(command) => command.run(context),
            Self::Train(command) => command.run(context),
            Self::Unify(command) => command.run(context),
            Self::Weigh(command) => command.run(context),
        }
    }
}
