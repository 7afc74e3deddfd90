//! One run of a plan, from its line to its record.

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use mtl_train::{Finished, Located, Observer, Recipe, Run, RunOptions, write_atomically};

use super::{Options, Plan, Planned, Purpose, leak, record};
use crate::fetch::Fetcher;
use crate::locate;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its record is written.
    Finished,
    /// Why is written down.
    Broken(String),
    /// Its checkpoint goes on.
    Interrupted,
}

/// Runs `line`, from its last checkpoint if there is one. A run that breaks is written down as broken.
///
/// # Errors
/// If the disk refuses.
pub(super) fn run(
    line: &Planned,
    plan: &Plan,
    fetcher: &Fetcher,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Ended> {
    let folder = plan.folder(line);
    let _lock = wait_for(&folder.with_extension("lock"), observer)?;
    // Another process may have been at it, such as the child of a comparison that was killed.
    if folder.join("record.json").exists() {
        return Ok(Ended::Finished);
    }
    let _ = std::fs::remove_file(folder.join("broken.json"));
    // A panic in a library is one broken run, not the end of the others.
    let ended = catch_unwind(AssertUnwindSafe(|| finish(line, &folder, fetcher, options, observer)))
        .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", words(&panic))));
    match ended {
        Ok(true) => Ok(Ended::Finished),
        Ok(false) => Ok(Ended::Interrupted),
        Err(error) => {
            let reason = format!("{error:#}");
            plan.mark_broken(line, reason.clone())?;
            Ok(Ended::Broken(reason))
        }
    }
}

/// The run's lock, once nobody else has it.
fn wait_for(path: &Path, observer: &mut dyn Observer) -> Result<File> {
    let context = || format!("cannot lock {}", path.display());
    path.parent().map_or(Ok(()), std::fs::create_dir_all).with_context(context)?;
    let file = File::create(path).with_context(context)?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        observer.note("another process is at this run; waiting for it");
        file.lock().with_context(context)?;
    }
    Ok(file)
}

/// Whether the run finished; false if it was interrupted.
fn finish(
    line: &Planned,
    folder: &Path,
    fetcher: &Fetcher,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<bool> {
    let (recipe, _) = Recipe::parse(&format!("run {}", line.id), &line.recipe, &[])?;
    let located = locate::everything(&recipe, fetcher)?;
    let Some(finished) = opened(line, &recipe, &located, folder, options)?.execute_recorded(observer)? else {
        return Ok(false);
    };
    if line.purpose == Purpose::Tune && finished.report.test_opened_at.is_some() {
        bail!("a tuning run opened the test split");
    }
    if recipe.evaluation.keep_looks {
        leak::look_back(folder, &finished, &located)?;
    }
    write(line, &recipe, &finished, folder)?;
    Ok(true)
}

/// The run, going on from its checkpoint; from the beginning if there is none that is whole.
fn opened(line: &Planned, recipe: &Recipe, located: &Located, folder: &Path, options: &Options) -> Result<Run> {
    let run = |resume: bool| {
        let options = RunOptions {
            out: folder.to_path_buf(),
            resume,
            recipe_name: line.arm.clone(),
            fallback: false,
            commit: options.commit.clone(),
            device_name: "cpu".into(),
        };
        Run::new(recipe.clone(), located, options, &Device::Cpu)
    };
    if folder.join("checkpoints").exists() {
        if let Ok(run) = run(true) {
            return Ok(run);
        }
        // Neither whole nor of use: only a run that starts anew can tell what it holds.
        std::fs::remove_dir_all(folder)?;
    }
    run(false)
}

fn write(line: &Planned, recipe: &Recipe, finished: &Finished, folder: &Path) -> Result<()> {
    let record = record::record(line, recipe, finished, folder)?;
    write_atomically(&folder.join("record.json"), &serde_json::to_vec(&record)?)?;
    if !line.keep {
        std::fs::remove_dir_all(folder.join("checkpoints"))?;
    }
    Ok(())
}

fn words(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "without a word".into())
}
