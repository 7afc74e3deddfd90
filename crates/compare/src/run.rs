//! One run of a plan, from its line to its record.
//!
//! What is wrong with a run itself is written down, and the run is not tried again unless asked for. What may pass (a
//! full disk, another process's lock, a network) or can be mended (a damaged checkpoint) is told and nothing else: no
//! file is deleted, and the next call tries again.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use mtl_train::{Finished, Located, Observer, Recipe, Run, RunOptions, Start, write_atomically};

use super::{
    Library, Options, Plan, Planned, Purpose, Unavailable, checkpoints, header, integrity, leak, paths, record,
};

/// Between two attempts at a lock that another process has.
const WAIT: Duration = Duration::from_millis(200);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its record is written.
    Finished,
    /// Something is wrong with the run; why is written down.
    Broken(String),
    /// It was asked to stop; its checkpoint continues.
    Interrupted,
    /// It could not run now, for this reason; the next call tries again.
    Postponed(String),
}

/// Why a run did not finish.
enum Failure {
    /// It would fail again.
    Lasting(anyhow::Error),
    /// It may pass, or somebody may mend it.
    Passing(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let outside = |cause: &(dyn std::error::Error + 'static)| {
            let candle = cause.downcast_ref::<candle_core::Error>();
            cause.is::<std::io::Error>()
                || cause.is::<Unavailable>()
                || candle.is_some_and(|error| matches!(error, candle_core::Error::Io(_)))
        };
        if error.chain().any(outside) { Self::Passing(error) } else { Self::Lasting(error) }
    }
}

/// Runs `line`, from its last checkpoint if there is one. A run that breaks is written down as broken.
pub(super) fn run(
    line: &Planned,
    plan: &Plan,
    library: &dyn Library,
    options: &Options,
    observer: &mut dyn Observer,
) -> Ended {
    let folder = plan.folder(line);
    // A panic in a library is one broken run, not the end of the others.
    let ended = catch_unwind(AssertUnwindSafe(|| locked(line, plan, &folder, library, options, observer)))
        .unwrap_or_else(|panic| Err(Failure::Lasting(anyhow!("panicked: {}", words(&panic)))));
    match ended {
        Ok(true) => Ended::Finished,
        Ok(false) => Ended::Interrupted,
        Err(Failure::Passing(error)) => Ended::Postponed(format!("{error:#}")),
        Err(Failure::Lasting(error)) => {
            let reason = format!("{error:#}");
            match plan.mark_broken(line, reason.clone()) {
                Ok(()) => Ended::Broken(reason),
                Err(error) => Ended::Postponed(format!("{reason}; which could not be written down: {error:#}")),
            }
        }
    }
}

/// Runs `line` once no other process is at it; returns whether it finished, false if it was interrupted.
fn locked(
    line: &Planned,
    plan: &Plan,
    folder: &Path,
    library: &dyn Library,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<bool, Failure> {
    let own = folder.with_extension("lock");
    // The run's recipe names files by the way from here, which only a folder that is there leads along.
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let Some(_lock) = wait_for(&own, observer)? else { return Ok(false) };
    // Another process may have been at it, such as the child of a comparison that was killed.
    if folder.join("record.json").exists() {
        return Ok(true);
    }
    let _ = std::fs::remove_file(folder.join("broken.json"));
    // The lock of a training that was started by hand in this folder; the run itself takes it next.
    let training = folder.join(".lock");
    if training.exists() && wait_for(&training, observer)?.is_none() {
        return Ok(false);
    }
    finish(line, plan, folder, library, options, observer)
}

/// The lock `path`, once nobody else has it; none if the observer interrupts the wait.
fn wait_for(path: &Path, observer: &mut dyn Observer) -> Result<Option<File>> {
    let context = || format!("cannot lock {}", path.display());
    let file = File::options().create(true).append(true).open(path).with_context(context)?;
    let mut said = false;
    while let Err(TryLockError::WouldBlock) = file.try_lock() {
        if !said {
            observer.note(&format!("another process is at this run ({} is locked); waiting for it", path.display()));
            said = true;
        }
        if observer.interrupted() {
            return Ok(None);
        }
        std::thread::sleep(WAIT);
    }
    Ok(Some(file))
}

/// Whether the run finished; false if it was interrupted.
fn finish(
    line: &Planned,
    plan: &Plan,
    folder: &Path,
    library: &dyn Library,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<bool, Failure> {
    let recipe = Recipe::parse_resolved(&library.registries(), &format!("run {}", line.id), &line.recipe)?;
    let located = library.locate(&paths::anchored_recipe(&recipe, folder))?;
    // Somebody may put it back.
    if let Some(file) = plan.header.iter().flat_map(|header| header.changed_data(&header::files(&located))).next() {
        return Err(Failure::Passing(anyhow!(
            "the data file `{file}` is not the one that was planned with; restore it, or compare under another --out"
        )));
    }
    // What another machine may have is no fault of the run.
    let device = options.device.open().with_context(|| format!("the device `{}`", options.device));
    let device = device.map_err(Failure::Passing)?;
    let run = opened(line, &recipe, &located, folder, options, &device)?;
    run.found().iter().for_each(|note| observer.note(note));
    let Some(finished) = run.execute_recorded(observer)? else {
        return Ok(false);
    };
    if line.purpose == Purpose::Tune && finished.report.test_opened_at.is_some() {
        return Err(Failure::Lasting(anyhow!("a tuning run opened the test split")));
    }
    if let Some(why) = &finished.diverged {
        observer.note(&format!("training has diverged, which counts as the answers of the baselines: {why}"));
    }
    if recipe.evaluation.keep_evaluations && finished.diverged.is_none() {
        leak::look_back(&recipe, folder, &finished, &located, &device)?;
    }
    write(line, &recipe, &finished, folder, (integrity::program(options), observer))?;
    Ok(true)
}

/// The run, continuing from its checkpoint; from the beginning if there is none.
fn opened(
    line: &Planned,
    recipe: &Recipe,
    located: &Located,
    folder: &Path,
    options: &Options,
    device: &Device,
) -> Result<Run, Failure> {
    let run = |start: Start| {
        let options = RunOptions {
            out: folder.to_path_buf(),
            start,
            recipe_name: line.arm.clone(),
            fallback: false,
            commit: options.commit.clone(),
            device_name: options.device.to_string(),
        };
        Run::new(recipe.clone(), located, options, device)
    };
    let saved = folder.join("checkpoints");
    let resumed = || -> Result<Option<Run>> {
        if !saved.exists() || !checkpoints::can_continue(&saved)? {
            return Ok(None);
        }
        checkpoints::verify(&saved)?;
        run(Start::Resume).map(Some)
    };
    same_recipe(recipe, folder).map_err(Failure::Lasting)?;
    match resumed() {
        Ok(Some(run)) => Ok(run),
        Ok(None) => Ok(run(Start::New)?),
        Err(error) => Err(Failure::Passing(anyhow!(
            "cannot continue from the checkpoint in {}: {error:#}; nothing was deleted: give the same command again once \
             that is mended, or remove {0} to run from the beginning",
            saved.display()
        ))),
    }
}

/// Refuses a folder with the checkpoint of another recipe.
fn same_recipe(recipe: &Recipe, folder: &Path) -> Result<()> {
    let path = folder.join("recipe.toml");
    let Ok(found) = std::fs::read_to_string(&path) else { return Ok(()) };
    if mtl_train::has_checkpoint(&folder.join("checkpoints")) && found != recipe.to_toml()? {
        bail!(
            "{}: the checkpoint in this folder is of another recipe than the plan's; remove the folder and use --retry to \
             run it again",
            path.display()
        );
    }
    Ok(())
}

fn write(
    line: &Planned,
    recipe: &Recipe,
    finished: &Finished,
    folder: &Path,
    (program, observer): (String, &mut dyn Observer),
) -> Result<()> {
    let record = record::record(line, recipe, finished, folder, program)?;
    write_atomically(&folder.join("record.json"), &serde_json::to_vec(&record)?)?;
    let checkpoints = folder.join("checkpoints");
    // A training that diverged may have left none.
    if !line.keep
        && checkpoints.exists()
        && let Err(error) = std::fs::remove_dir_all(checkpoints)
    {
        observer.note(&format!("the run is done, but its checkpoints could not be removed: {error}"));
    }
    Ok(())
}

fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "without a message".into())
}
