//! `data check`: sizes, balance, lengths, truncation, duplicates and leaks of a recipe's datasets.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use mtl_compare::Library;
use mtl_data::{Audit, Balance, SplitAudit};

use crate::local::DataFolders;
use crate::locate::{self, Files};
use crate::output::line;
use crate::{Context, Overrides};

/// So many labels are counted in a line.
const NAMED: usize = 12;

/// Check datasets before they are trusted.
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
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    folders: DataFolders,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Data {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        let What::Check(check) = self.what;
        check.run(context)
    }
}

impl Check {
    fn run(self, context: &Context) -> Result<ExitCode> {
        let given = locate::recipe(&context.registries, &self.recipe, &self.overrides.set)?;
        let files = Files::new(&context.registries, self.offline)?.with_data(&self.folders.data)?;
        files.check_data(&given.recipe.tasks)?;
        let located = files.locate(&given.recipe)?;
        let audit = mtl_train::audit_data(&given.recipe, &located)?;
        match self.json {
            true => line(&serde_json::to_string_pretty(&audit)?)?,
            false => print(&audit, given.recipe.train.max_tokens)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(audit: &Audit, limit: usize) -> Result<()> {
    for task in &audit.tasks {
        line(&format!("{} ({})", task.name, task.kind))?;
        for (name, split) in &task.splits {
            line(&format!("  {name:<6}{}", described(split, limit)))?;
        }
        task.notes.iter().try_for_each(|note| line(&format!("  note: {note}")))?;
    }
    for overlap in &audit.overlaps {
        let ((a, b), (c, d)) = (&overlap.one, &overlap.other);
        let texts = if overlap.texts == 1 { "text is" } else { "texts are" };
        line(&format!("{} {texts} both in {a}/{b} and in {c}/{d}", overlap.texts))?;
    }
    let leaks = audit.leaks().count();
    let pairs = if leaks == 1 { "pair of different splits shares" } else { "pairs of different splits share" };
    line(&format!("{leaks} {pairs} texts"))
}

fn described(split: &SplitAudit, limit: usize) -> String {
    let [shortest, median, most, longest] = split.tokens;
    let balance = match &split.balance {
        Balance::Counts(counts) => {
            // The commonest say enough; JSON has them all.
            let mut sorted: Vec<_> = counts.iter().collect();
            if sorted.len() > NAMED {
                sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            }
            let shown: Vec<String> = sorted.iter().take(NAMED).map(|(name, count)| format!("{name} {count}")).collect();
            match sorted.len() > NAMED {
                true => format!("{}, … ({} in all)", shown.join(", "), sorted.len()),
                false => shown.join(", "),
            }
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
