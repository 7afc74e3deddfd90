//! Comparisons: many runs by one plan, and what they say together.
//!
//! An [`Experiment`] names arms, seeds and what is tuned. Its plan is made in stages (the rungs of the tuning, then the
//! final runs), each frozen in `plan.jsonl` before its first run: one line a run, with an id that is a hash of its
//! resolved recipe. Whatever is finished is never run again, so a comparison may be stopped anywhere and started again.

mod conclude;
mod engine;
mod experiment;
mod leak;
mod plan;
mod progress;
mod record;
mod run;
mod tune;

pub use engine::Engine;
pub(crate) use engine::INTERRUPTED;
pub use experiment::{Arm, Control, Experiment, Refused};
pub use leak::Leak;
pub use plan::{Plan, Planned, Purpose};

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use mtl_eval::comparison::Comparison;

use crate::fetch::Fetcher;
use progress::Whole;

/// How a comparison is carried out.
#[derive(Debug)]
pub struct Options {
    /// The experiment's folder.
    pub out: PathBuf,
    /// Who runs the runs.
    pub engine: Engine,
    /// Whether no socket may be opened.
    pub offline: bool,
    /// Runs to finish before stopping, if not all.
    pub at_most: Option<usize>,
    /// Whether runs that broke are tried again.
    pub retry: bool,
    /// The source's commit, if known.
    pub commit: Option<String>,
    /// Set from outside to stop behind the current step.
    pub interrupted: Arc<AtomicBool>,
}

/// How a comparison ended.
#[derive(Debug)]
pub enum Ended {
    /// All runs are done.
    Finished(Box<Comparison>),
    /// It was stopped; the same command goes on.
    Stopped {
        /// Runs that are done.
        done: usize,
        /// Runs in all.
        of: usize,
    },
    /// The commands of the runs that are due, for others to run.
    Printed(Vec<String>),
}

/// Carries out `experiment` as far as `options` let it.
///
/// # Errors
/// If the plan in the folder is another experiment's, another process works there, or no comparison can be made of
/// what ran.
pub fn compare(experiment: &Experiment, options: &Options) -> Result<Ended> {
    let lock = lock(&options.out)?;
    let mut plan = Plan::open(&options.out)?;
    let (arms, refused) = experiment.arms()?;
    let mut whole = Whole::new(experiment, &arms, options.interrupted.clone());
    refused.iter().for_each(|refused| whole.say(&format!("not run: {refused}")));
    let fetcher = Fetcher::from_environment(options.offline);
    for stage in 0..experiment.stages() {
        let lines = plan.freeze(stage, tune::stage(experiment, &arms, stage, &plan)?)?;
        if !engine::carry_out(&lines, &plan, experiment, options, &fetcher, &mut whole)? {
            let due = lines.iter().filter(|line| !plan.is_done(line)).map(|line| options.command(experiment, line));
            return Ok(match options.engine {
                Engine::Print => Ended::Printed(due.collect()),
                Engine::Local(_) => Ended::Stopped { done: whole.done(), of: whole.runs() },
            });
        }
    }
    whole.finish();
    let comparison = conclude::conclude(experiment, &arms, &refused, &plan, options)?;
    drop(lock);
    Ok(Ended::Finished(Box::new(comparison)))
}

impl Options {
    /// The command that runs `line` alone.
    fn command(&self, experiment: &Experiment, line: &Planned) -> String {
        let offline = if self.offline { " --offline" } else { "" };
        format!("cargo xtask compare {} --out {} --run {}{offline}", experiment.name, self.out.display(), line.id)
    }
}

/// Runs the one run called `id` of the frozen plan in the folder; answers whether it is done.
///
/// # Errors
/// If there is no such run. A run that breaks is no error: it is recorded.
pub fn run_one(id: &str, options: &Options, observer: &mut dyn mtl_train::Observer) -> Result<bool> {
    let plan = Plan::open(&options.out)?;
    let line = plan.find(id)?;
    let fetcher = Fetcher::from_environment(options.offline);
    if plan.is_done(line) && !(options.retry && plan.broken(line).is_some()) {
        return Ok(true);
    }
    Ok(run::run(line, &plan, &fetcher, options, observer)? != run::Ended::Interrupted)
}

/// Keeps a second process out of the folder for as long as the file lives.
fn lock(out: &Path) -> Result<File> {
    let path = out.join("lock");
    let context = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(out).with_context(context)?;
    let file = File::create(&path).with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another process compares here; wait for it, or choose another --out", out.display())
        }
        // A file system without locks: the folder's owner has to take care.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}
