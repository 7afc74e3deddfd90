//! Comparisons: many runs by one plan, and what they say together.
//!
//! An [`Experiment`] names arms, seeds and what is tuned. Its plan is made in stages (the rungs of the tuning, then the
//! final runs), each frozen in `plan.jsonl` before its first run: one line a run, with an id that is a hash of its
//! resolved recipe. Whatever is finished is never run again, so a comparison may be stopped anywhere and started again.
//!
//! Nothing here prints or touches the network: who compares watches through a [`Watch`], and says by a [`Library`]
//! where recipes, datasets and models come from.

// What a library reads may be odd, and that is an error, never a panic; `unwrap` and its kin belong to tests.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod checkpoints;
pub mod choose;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod claimed;
mod conclude;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod derive;
mod engine;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod experiment;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod header;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod integrity;
mod leak;
mod library;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
pub mod paths;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod plan;
#[deny(clippy::indexing_slicing, clippy::string_slice)]
mod record;
mod run;
mod tune;
mod watch;

pub use claimed::Claimed;
pub use engine::{Engine, INTERRUPTED};
pub use experiment::{Arm, Control, Experiment, Refused};
pub use leak::Leak;
pub use library::{Document, Library, Unavailable};
pub use plan::{Plan, Planned, Purpose};
pub use watch::{Progress, Silent, Watch};

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_backbone::DeviceName;
use mtl_eval::comparison::Comparison;

use header::Header;
use watch::TotalProgress;

/// How a comparison is carried out.
#[derive(Clone, Debug)]
pub struct Options {
    /// The experiment's folder.
    pub out: PathBuf,
    /// Who runs the runs.
    pub engine: Engine,
    /// Where they compute.
    pub device: DeviceName,
    /// Whether the runs may not use the network.
    pub offline: bool,
    /// Folders that datasets are read from in place of their sources, each `NAME=FOLDER`: what a run's own process or
    /// command is told.
    pub data: Vec<String>,
    /// Runs to finish before stopping, if not all.
    pub at_most: Option<usize>,
    /// Whether runs that broke are tried again.
    pub retry: bool,
    /// The source's commit, if known.
    pub commit: Option<String>,
    /// What the command line is called by those who type it, such as `mtl`.
    pub program: String,
}

/// How a comparison ended.
#[derive(Debug)]
pub enum Ended {
    /// All runs are done.
    Finished(Box<Comparison>),
    /// It was stopped, or runs are left that could not run now; the same command continues.
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
pub fn compare(
    experiment: &Experiment,
    options: &Options,
    library: &dyn Library,
    watch: &mut dyn Watch,
) -> Result<Ended> {
    refuse_others(&options.out)?;
    let lock = lock(&options.out)?;
    mtl_train::clear_temporaries(&options.out)?;
    let mut plan = Plan::open(&options.out)?;
    // What was planned by a program of before goes on as it was planned.
    let experiment = &if plan.is_of_before() { experiment.clone().of_before() } else { experiment.clone() };
    let (arms, refused) = experiment.arms()?;
    let mut total = TotalProgress::new(experiment, &arms, watch);
    refused.iter().for_each(|refused| total.say(&format!("not run: {refused}")));
    let now = Header::now(experiment, &arms, options, located(experiment, options, library).as_ref());
    plan.settle(&now)?;
    let metrics = &experiment.registries.metrics;
    for stage in 0..tune::stages(experiment, &arms) {
        let lines = plan.freeze(stage, tune::stage(experiment, &arms, stage, &plan)?)?;
        if tune::is_unforeseen(experiment, &arms, stage) {
            total.more(&lines);
        }
        if lines.iter().any(|line| !plan.is_done(line)) {
            plan.refuse_changed(&now)?;
        }
        if !engine::carry_out(&lines, &plan, experiment, options, library, &mut total)? {
            let due = lines.iter().filter(|line| !plan.is_done(line)).map(|line| options.command(experiment, line));
            return Ok(match options.engine {
                Engine::Print => Ended::Printed(due.collect()),
                Engine::Local(_) => Ended::Stopped { done: total.done(), of: total.runs() },
            });
        }
        integrity::check_scores(metrics, &lines, &plan)?;
    }
    let notes = tune::notes(experiment.table.tune.as_ref(), &arms, &plan)?;
    let notes = notes.into_iter().chain(integrity::notes(&plan, &now, options)?).collect();
    let comparison = conclude::conclude(experiment, &arms, &refused, &plan, options, notes)?;
    drop(lock);
    Ok(Ended::Finished(Box::new(comparison)))
}

/// The data of the base recipe, if it is on this machine or can be fetched; printed commands are for other machines. What
/// keeps it away is told by the runs.
fn located(experiment: &Experiment, options: &Options, library: &dyn Library) -> Option<mtl_train::Located> {
    match options.engine {
        Engine::Print => None,
        Engine::Local(_) => experiment.recipe().and_then(|recipe| library.locate(&recipe)).ok(),
    }
}

impl Options {
    /// The command that runs `line` alone.
    fn command(&self, experiment: &Experiment, line: &Planned) -> String {
        let (whole, offline) = (self.whole_command(experiment), if self.offline { " --offline" } else { "" });
        let device = if self.device == DeviceName::Cpu { String::new() } else { format!(" --device {}", self.device) };
        let data: String = self.data.iter().map(|given| format!(" --data {}", paths::quoted(given))).collect();
        format!("{whole} --out {} --run {}{offline}{device}{data}", self.out.display(), line.id)
    }

    /// The command that asks for `experiment`, with all that was changed in it.
    fn whole_command(&self, experiment: &Experiment) -> String {
        let changes = experiment.given.iter().map(|change| format!(" --set {}", paths::quoted(change)));
        format!("{} compare {}{}", self.program, paths::quoted(&experiment.name), changes.collect::<String>())
    }

    /// The command as a report tells it to those who have their copies of the data elsewhere.
    fn told_command(&self, experiment: &Experiment) -> String {
        let data: String = self.data.iter().map(|given| format!(" --data {}", told(given))).collect();
        self.whole_command(experiment) + &data
    }
}

/// `NAME=FOLDER` without the folder of this machine.
fn told(given: &str) -> String {
    format!("{}=FOLDER", given.split_once('=').map_or(given, |(name, _)| name))
}

/// Runs the one run called `id` of the frozen plan in the folder; returns whether it is done. One that could not run
/// now says why by a note.
///
/// # Errors
/// If there is no such run. A run that breaks is no error: it is recorded.
pub fn run_one(
    id: &str,
    options: &Options,
    library: &dyn Library,
    observer: &mut dyn mtl_train::Observer,
) -> Result<bool> {
    let plan = Plan::open(&options.out)?;
    let line = plan.find(id)?;
    if plan.is_done(line) && !(options.retry && plan.broken(line).is_some()) {
        return Ok(true);
    }
    Ok(match run::run(line, &plan, library, options, observer) {
        run::Ended::Finished | run::Ended::Broken(_) => true,
        run::Ended::Interrupted => false,
        run::Ended::Postponed(reason) => {
            observer.note(&reason);
            false
        }
    })
}

/// Refuses a folder that holds something of the name of what a comparison writes, and no plan: that is somebody's own.
fn refuse_others(out: &Path) -> Result<()> {
    if out.join("plan.jsonl").exists() || matches!(Header::read(out), Ok(Some(_))) {
        return Ok(());
    }
    let written = conclude::FILES.iter().chain(&[header::FILE]).find(|name| out.join(name).symlink_metadata().is_ok());
    // One that holds nothing is of a comparison that was killed before it had a plan.
    let own_lock = || std::fs::metadata(out.join("lock")).is_ok_and(|found| found.is_dir() || found.len() > 0);
    let Some(name) = written.copied().or_else(|| own_lock().then_some("lock")) else { return Ok(()) };
    bail!(
        "{}: holds `{name}`, which is not of a comparison, and a comparison writes one of its own there; choose another \
         --out, such as {}",
        out.display(),
        out.join("comparison").display()
    )
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

/// The Rust in the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
