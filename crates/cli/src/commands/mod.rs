//! The commands, one file each.

mod choose;
mod compare;
mod data;
mod diagnose;
mod dry_run;
mod evaluate;
mod explain;
mod export;
mod fetch;
mod import;
mod init;
mod list;
mod paper;
mod predict;
mod push;
mod slim;
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
    /// Write a run's model as folders that transformers and sentence-transformers load
    Export(export::Export),
    /// Fetch the model and datasets of a recipe
    Fetch(fetch::Fetch),
    /// Make a run of a model that was fine-tuned elsewhere
    Import(import::Import),
    /// Write manifests and a recipe for files of your own, and say what was guessed
    Init(init::Init),
    /// List what there is: models, datasets, strategies, rules, …
    List(list::List),
    /// Make the tables and figures of a paper from rows, and judge claims by them
    Paper(paper::Paper),
    /// Predict labels of texts with a run's model
    Predict(predict::Predict),
    /// Publish a run, or an exported folder, on the Hugging Face Hub
    Push(push::Push),
    /// Copy a finished run without what only its training needed
    Slim(slim::Slim),
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
            Self::Export(command) => command.run(context),
            Self::Fetch(command) => command.run(context),
            Self::Import(command) => command.run(context),
            Self::Init(command) => command.run(context),
            Self::List(command) => command.run(context),
            Self::Paper(command) => command.run(context),
            Self::Predict(command) => command.run(context),
            Self::Push(command) => command.run(context),
            Self::Slim(command) => command.run(context),
            Self::Toy(command) => command.run(context),
            Self::Train(command) => command.run(context),
            Self::Unify(command) => command.run(context),
            Self::Weigh(command) => command.run(context),
        }
    }
}
