//! What the checkpoints of a run take on disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use mtl_task::TaskId;
use serde::Serialize;

use crate::assemble::Assembled;
use crate::recipe::{Keep, Recipe};

/// Disk that a run's checkpoints take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// One checkpoint.
    pub checkpoint: u64,
    /// Whole checkpoints that are kept: the last two, the best one, those of every evaluation where these are to stay, and
    /// the one of each task's best where tasks share nothing.
    pub kept: usize,
    /// Each task's best weights, where these are kept: its own parameters, or a snapshot of all that it reads where tasks
    /// share some.
    pub each: u64,
    /// All that is kept, and the next checkpoint while it is written.
    pub most: u64,
}

impl Disk {
    /// Of a run with so many `evaluations` on dev, whose checkpoint has `checkpoint` bytes.
    pub(super) fn of(recipe: &Recipe, assembled: &Assembled, checkpoint: u64, evaluations: usize) -> Result<Self> {
        let model = &assembled.trainer.model;
        let snapshots = recipe.keeps_snapshots()?;
        let length = |name: &String| {
            let param = model.params.get(name).filter(|param| snapshots || param.trainable());
            param.map_or(0, |param| param.layout().len() * model.params.dtype().size_in_bytes())
        };
        let keeps_each = recipe.evaluation.keep == Keep::Each;
        let own = |task| -> usize { model.reach(TaskId(task)).iter().map(length).sum() };
        let own: Vec<usize> = if keeps_each { (0..assembled.datasets.len()).map(own).collect() } else { Vec::new() };
        let each = own.iter().sum::<usize>() as u64;
        let stay = if recipe.evaluation.keep_evaluations { evaluations } else { 0 };
        // Tasks that share nothing end in one checkpoint with the best of each.
        let kept = 3 + stay + usize::from(keeps_each && !snapshots);
        // A snapshot is whole before the one that it replaces goes.
        let next = if snapshots { own.iter().copied().max().unwrap_or(0) as u64 } else { 0 };
        Ok(Self { checkpoint, kept, each, most: (kept as u64 + 1) * checkpoint + each + next })
    }
}

/// A folder of this process's own for things that nobody is to find, removed when it is dropped.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn new() -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mtl-dry-run-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes of the files in `folder` and below.
pub(super) fn size(folder: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}
