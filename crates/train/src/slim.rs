//! A run without what only its training needed: what answers (weights, heads, tokenizer, labels), and what says how it
//! came about (recipe, fingerprints, report). No optimizer, no other checkpoints, no metrics of the steps.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use mtl_task::TaskId;

use crate::recipe::Recipe;
use crate::registries::Registries;
use crate::resume;
use crate::run::{REPORT, stored};
use crate::store::write_atomically;
use crate::trained_on::{FILES, TrainedOn};

/// Copies the finished run in `folder` into the folder `to`, so that the copy answers and is scored as the run itself.
/// Nothing goes on from it.
///
/// # Errors
/// If `folder` holds no finished run, or a file that is not as the run wrote it; if the disk refuses.
pub fn slim(registries: &Arc<Registries>, folder: &Path, to: &Path) -> Result<()> {
    let place = folder.join(stored::RECIPE);
    let Ok(text) = std::fs::read_to_string(&place) else {
        bail!("{}: not a run folder: no {}", folder.display(), stored::RECIPE)
    };
    let recipe = Recipe::parse_resolved(registries, &place.display().to_string(), &text)?;
    if !folder.join(REPORT).exists() {
        bail!("{}: the run is not finished: the same `train` command continues it", folder.display());
    }
    let Some(trained_on) = TrainedOn::read(folder)? else { bail!("{}: not a run folder", folder.display()) };
    trained_on.check_folder(folder)?;
    let (from, into) = (folder.join("checkpoints"), to.join("checkpoints"));
    let mut found = false;
    for name in recipe.evaluation.keep.checkpoints() {
        found = resume::copy_weights(&from, name, &into)?;
        if found {
            break;
        }
    }
    if !found {
        bail!("{}: no checkpoint that the run's answers are of; restore it from a backup", from.display());
    }
    if recipe.keeps_snapshots()? {
        for task in (0..trained_on.tasks.len()).map(TaskId) {
            resume::copy_weights(&from, &resume::snapshot_name(task), &into)?;
        }
    }
    for file in FILES.into_iter().chain([REPORT, "report.md"]) {
        let path = folder.join(file);
        if path.exists() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            write_atomically(&to.join(file), &bytes)?;
        }
    }
    // Last: what has one is a run.
    write_atomically(&to.join(stored::RECIPE), text.as_bytes())
}
