//! `cargo xtask data check`: sizes, balance, lengths, truncation, duplicates and leaks of a recipe's datasets.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use mtl_data::{Audit, Balance, SplitAudit};
use mtl_train::Recipe;

use crate::fetch::Fetcher;
use crate::locate;

/// Look at datasets before they are trusted.
#[derive(Debug, Args)]
pub struct Data {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sizes, label balance, lengths, truncation, duplicates within and across splits and tasks, empty texts
    Check(Check),
}

/// Sizes, label balance, lengths, truncation, duplicates, empty texts.
#[derive(Debug, Args)]
struct Check {
    /// A recipe: a path, or the name of a shipped one
    #[arg(default_value = "default")]
    recipe: String,
    /// Change a key of the recipe, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Open no socket: use only what is on this machine
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Data {
    pub(super) fn run(self) -> Result<ExitCode> {
        let What::Check(check) = self.what;
        check.run()
    }
}

impl Check {
    fn run(self) -> Result<ExitCode> {
        let text = locate::recipe(&self.recipe)?;
        let (recipe, dropped) = Recipe::parse(&text.place, &text.text, &self.set)?;
        dropped.iter().for_each(|dropped| eprintln!("{dropped}"));
        let located = locate::everything(&recipe, &Fetcher::from_environment(self.offline))?;
        let audit = mtl_train::audit_data(&recipe, &located)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&audit)?);
        } else {
            print(&audit, recipe.train.max_tokens);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(audit: &Audit, limit: usize) {
    for task in &audit.tasks {
        println!("{} ({})", task.name, task.kind);
        for (name, split) in &task.splits {
            println!("  {name:<6}{}", line(split, limit));
        }
        task.notes.iter().for_each(|note| println!("  note: {note}"));
    }
    for overlap in &audit.overlaps {
        let ((a, b), (c, d)) = (&overlap.one, &overlap.other);
        println!("{} texts are both in {a}/{b} and in {c}/{d}", overlap.texts);
    }
    let leaks = audit.leaks().count();
    println!("{leaks} pairs of different splits share texts");
}

fn line(split: &SplitAudit, limit: usize) -> String {
    let [shortest, median, most, longest] = split.tokens;
    let balance = match &split.balance {
        Balance::Counts(counts) => {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            counts.join(", ")
        }
        Balance::Numbers { least, mean, most, deviation } => {
            format!("from {least:.2} to {most:.2}, mean {mean:.2}, deviation {deviation:.2}")
        }
        Balance::Sealed => "labels sealed".to_string(),
    };
    format!(
        "{} examples, {} empty, {} repeated; tokens {shortest}–{longest}, median {median}, 95 % up to {most}; {} over \
         {limit}; {balance}",
        split.examples, split.empty, split.duplicates, split.truncated
    )
}
