//! `train`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;
use mtl_compare::{INTERRUPTED, Library, paths};
use mtl_train::{Ended, Run, RunOptions};

use crate::device::{OnDevice, set_threads};
use crate::locate::{self, Files};
use crate::output::{note, result};
use crate::watch::Training;
use crate::{Context, Overrides, checkout};

/// Fine-tune an encoder on several tasks.
///
/// Without a recipe the default one is trained; if its data cannot be fetched, the embedded one, which needs no network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} train\n  {program} train embedded --out runs/first\n  \
    {program} train my.toml --set weighting.rule=pcgrad --set train.seed=1")]
pub struct Train {
    /// A recipe: a path, or the name of a shipped one (`{program} list recipes`)
    recipe: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    on: OnDevice,
    /// The run folder [default: runs/RECIPE, or with the next free number after it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue from the last checkpoint in the run folder
    #[arg(long)]
    resume: bool,
    /// Say what the run would take (tasks, parameters, memory, time, disk) after a few of its steps, and make no run folder
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// Print the dry run as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

impl Train {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        let device = self.on.open()?;
        let files = Files::new(&context.registries, self.offline)?;
        let given =
            locate::recipe(&context.registries, self.recipe.as_deref().unwrap_or("default"), &self.overrides.set)?;
        let (given, located, fallback) = match (files.locate(&given.recipe), &self.recipe) {
            (Ok(located), _) => (given, located, false),
            (Err(error), Some(_)) => return Err(error),
            (Err(error), None) => {
                note(&format!(
                    "{error:#}\n\nThe default recipe's data could not be fetched; the embedded recipe runs instead."
                ));
                let given = locate::recipe(&context.registries, "embedded", &self.overrides.set)?;
                let located = files.locate(&given.recipe)?;
                (given, located, true)
            }
        };
        let out = self.out.clone().unwrap_or_else(|| free_folder(&given.name, self.resume));
        set_threads(given.recipe.train.threads)?;
        if self.dry_run {
            super::dry_run::print(&mtl_train::dry_run(&given.recipe, &located, &device)?, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let options = RunOptions {
            out: out.clone(),
            resume: self.resume,
            recipe_name: given.name.clone(),
            fallback,
            commit: commit(),
            device_name: self.on.device.to_string(),
        };
        let run = Run::new(paths::written_recipe(&given.recipe, &out), &located, options, &device)?;
        let mut progress = Training::new()?;
        match run.execute(&mut progress)? {
            Ended::Finished(report) => {
                progress.done();
                result(&report.to_markdown(&context.registries.metrics));
                note(&format!("run folder: {}", out.display()));
                Ok(ExitCode::SUCCESS)
            }
            Ended::Interrupted(step) => {
                progress.done();
                let folder = out.display().to_string();
                let again = context
                    .program
                    .again(fallback.then_some("embedded"), &[("--out", Some(&folder)), ("--resume", None)]);
                note(&format!("interrupted after step {step}; continue with: {again}"));
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}

/// runs/NAME, or NAME-2, NAME-3, …: the next free one, or the latest one to resume.
pub(super) fn free_folder(name: &str, resume: bool) -> PathBuf {
    let runs = Path::new("runs");
    let folder = |index: usize| if index == 1 { runs.join(name) } else { runs.join(format!("{name}-{index}")) };
    let first_free = (1..).find(|&index| !folder(index).exists()).unwrap_or(1);
    folder(if resume { first_free.saturating_sub(1).max(1) } else { first_free })
}

/// The commit of the checkout that the current folder lies in.
pub(super) fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(checkout()?).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
