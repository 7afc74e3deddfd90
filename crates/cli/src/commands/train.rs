//! `train`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;
use mtl_compare::{INTERRUPTED, Library, paths};
use mtl_train::{Ended, Recipe, Run, RunOptions, Start, is_unfinished};

use crate::device::{OnDevice, set_threads};
use crate::local::DataFolders;
use crate::locate::{self, Files};
use crate::output::{note, result};
use crate::watch::Training;
use crate::{Context, Overrides, checkout};

/// Fine-tune an encoder on several tasks.
///
/// Without a recipe the default one is trained; if its data cannot be fetched, the embedded one, which needs no network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} train\n  {program} train embedded --out runs/first\n  \
    {program} train my.toml --set weighting.rule=pcgrad --set train.seed=1\n  {program} train my.toml --data trec=data/trec\n\n\
    Stopping and continuing:\n  \
    Ctrl-C, SIGTERM, SIGHUP, SIGQUIT and SIGUSR1 save after the current step and end with exit code 75; a second one \
    ends at once.\n  \
    `touch RUN/save-now` saves after the current step, and training proceeds.\n  \
    Given again, the command continues an unfinished run of the same recipe, with the same final bits; of a finished one \
    it shows the report.")]
pub struct Train {
    /// A recipe: a path, or the name of a shipped one (`{program} list recipes`)
    recipe: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    folders: DataFolders,
    #[command(flatten)]
    on: OnDevice,
    /// The run folder [default: that of the latest unfinished run of the recipe under runs/RECIPE, or the next free one:
    /// runs/RECIPE, runs/RECIPE-2, …]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only continue: refuse to begin where the run folder has no checkpoint
    #[arg(long)]
    resume: bool,
    /// Begin anew: remove the run that is in the folder of --out; without --out, take the next free folder
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// Say what the run would take (tasks, parameters, memory, time, disk) after a few of its steps, and make no run folder
    #[arg(long, conflicts_with_all = ["resume", "fresh"])]
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
        let files = Files::new(&context.registries, self.offline)?.with_data(&self.folders.data)?;
        let given =
            locate::recipe(&context.registries, self.recipe.as_deref().unwrap_or("default"), &self.overrides.set)?;
        files.check_data(&given.recipe.tasks)?;
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
        let start = match (self.resume, self.fresh) {
            (true, _) => Start::Resume,
            (_, true) => Start::Fresh,
            _ => Start::Continue,
        };
        let out = self.out.clone().unwrap_or_else(|| folder(&given.name, &given.recipe, start));
        set_threads(given.recipe.train.threads)?;
        if self.dry_run {
            super::dry_run::print(&mtl_train::dry_run(&given.recipe, &located, &device)?, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let options = RunOptions {
            out: out.clone(),
            start,
            recipe_name: given.name.clone(),
            fallback,
            commit: commit(),
            device_name: self.on.device.to_string(),
        };
        let mut progress = Training::new()?;
        let run = Run::new(paths::written_recipe(&given.recipe, &out), &located, options, &device)?;
        if run.is_finished() {
            note(&format!(
                "{}: this run is finished, and this is its report; to train anew give another --out, or --fresh",
                out.display()
            ));
        }
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

/// The folder of a run called `name` where none is given: that of the latest unfinished run of `recipe`, if `start` may
/// go on; else the next free one. To resume it is at least the latest one that there is.
fn folder(name: &str, recipe: &Recipe, start: Start) -> PathBuf {
    let (taken, free) = folders(name);
    let unfinished = |folder: &&PathBuf| is_unfinished(folder, &paths::written_recipe(recipe, folder));
    let latest = match start {
        Start::Continue | Start::Resume => taken.iter().rev().find(unfinished),
        Start::New | Start::Fresh => None,
    };
    match latest.or(taken.last().filter(|_| start == Start::Resume)) {
        Some(folder) => folder.clone(),
        None => free,
    }
}

/// The next free one of runs/NAME, NAME-2, NAME-3, ….
pub(super) fn free_folder(name: &str) -> PathBuf {
    folders(name).1
}

/// Those of runs/NAME, NAME-2, NAME-3, … that are there, and the first that is not.
fn folders(name: &str) -> (Vec<PathBuf>, PathBuf) {
    let (runs, mut taken) = (Path::new("runs"), Vec::new());
    loop {
        let folder = if taken.is_empty() { runs.join(name) } else { runs.join(format!("{name}-{}", taken.len() + 1)) };
        if !folder.exists() {
            return (taken, folder);
        }
        taken.push(folder);
    }
}

/// The commit of the checkout that the current folder lies in.
pub(super) fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(checkout()?).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
