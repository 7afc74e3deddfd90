//! `cargo xtask train`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use candle_core::Device;
use clap::Args;
use mtl_train::{Ended, Located, Recipe, Run, RunOptions};

use crate::compare::INTERRUPTED;
use crate::device::Where;
use crate::fetch::Fetcher;
use crate::locate::{self, RecipeText};
use crate::progress::Progress;

/// Fine-tune an encoder on several tasks.
///
/// Without a recipe the default one is trained; if its data cannot be fetched, the embedded one, which needs no network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask train\n  cargo xtask train embedded --out runs/first\n  \
    cargo xtask train my.toml --set weighting.rule=pcgrad --set train.seed=1")]
pub struct Train {
    /// A recipe: a path, or the name of a shipped one (`cargo xtask list recipes`)
    recipe: Option<String>,
    /// Change a key of the recipe, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Where::Cpu)]
    device: Where,
    /// The run folder [default: runs/RECIPE, or the next free number behind it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on from the last checkpoint in the run folder
    #[arg(long)]
    resume: bool,
    /// Open no socket: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

impl Train {
    pub(super) fn run(self) -> Result<ExitCode> {
        if let Some(code) = self.device.rerun()? {
            return Ok(code);
        }
        let device = self.device.open()?;
        let fetcher = Fetcher::from_environment(self.offline);
        let name = self.recipe.as_deref().unwrap_or("default");
        let (text, recipe) = self.read(locate::recipe(name)?)?;
        let (text, recipe, located, fallback) = match (locate::everything(&recipe, &fetcher), &self.recipe) {
            (Ok(located), _) => (text, recipe, located, false),
            (Err(error), Some(_)) => return Err(error),
            (Err(error), None) => {
                eprintln!(
                    "{error:#}\n\nThe default recipe's data cannot be had here; the embedded recipe runs instead."
                );
                let (text, recipe) = self.read(locate::recipe("embedded")?)?;
                let located = locate::everything(&recipe, &fetcher)?;
                (text, recipe, located, true)
            }
        };
        let out = self.out.clone().unwrap_or_else(|| free_folder(&text.name, self.resume));
        self.train(text, recipe, &located, fallback, out, &device)
    }

    fn read(&self, text: RecipeText) -> Result<(RecipeText, Recipe)> {
        let (recipe, dropped) = Recipe::parse(&text.place, &text.text, &self.set)?;
        dropped.iter().for_each(|dropped| eprintln!("{dropped}"));
        Ok((text, recipe))
    }

    fn train(
        &self,
        text: RecipeText,
        recipe: Recipe,
        located: &Located,
        fallback: bool,
        out: PathBuf,
        device: &Device,
    ) -> Result<ExitCode> {
        set_threads(recipe.train.threads)?;
        let options = RunOptions {
            out: out.clone(),
            resume: self.resume,
            recipe_name: text.name,
            fallback,
            commit: commit(),
            device_name: self.device.name().to_string(),
        };
        let run = Run::new(recipe, located, options, device)?;
        let mut progress = Progress::new()?;
        match run.execute(&mut progress)? {
            Ended::Finished(report) => {
                progress.done();
                println!("{}", report.to_markdown());
                eprintln!("run folder: {}", out.display());
                Ok(ExitCode::SUCCESS)
            }
            Ended::Interrupted(step) => {
                progress.done();
                eprintln!(
                    "interrupted behind step {step}; go on with: cargo xtask train … --out {} --resume",
                    out.display()
                );
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}

/// The pool's size; nothing that is computed depends on it.
pub(super) fn set_threads(threads: usize) -> Result<()> {
    if threads > 0 {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("the thread pool")?;
    }
    Ok(())
}

/// runs/NAME, or NAME-2, NAME-3, …: the next free one, or the latest one to resume.
pub(super) fn free_folder(name: &str, resume: bool) -> PathBuf {
    let runs = Path::new("runs");
    let folder = |index: usize| if index == 1 { runs.join(name) } else { runs.join(format!("{name}-{index}")) };
    let first_free = (1..).find(|&index| !folder(index).exists()).unwrap_or(1);
    folder(if resume { first_free.saturating_sub(1).max(1) } else { first_free })
}

pub(super) fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(locate::workspace()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
