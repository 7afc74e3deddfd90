//! Beginning anew: what a run left in its folder is removed, and nothing else.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::save_now::SAVE_NOW;
use super::stored::RECIPE;
use super::{METRICS, REPORT};
use crate::recipe::Recipe;
use crate::registries::Registries;
use crate::{resume, trained_on};

/// Removes the run in `folder`, which nobody else may be writing to. A kill on the way leaves a folder that takes
/// neither the one run nor the other for whole: the report goes first, and the recipe last. What a recipe names is looked
/// up in `registries`.
///
/// # Errors
/// If no run wrote the recipe there, or the disk refuses.
pub(super) fn clear(folder: &Path, registries: &Arc<Registries>) -> Result<()> {
    if !is_a_runs(folder, registries)? {
        bail!(
            "{}: no run wrote this file, so --fresh leaves it alone; choose another --out",
            folder.join(RECIPE).display()
        );
    }
    let context = || format!("cannot remove the run in {}", folder.display());
    for file in [REPORT, "report.md", METRICS, SAVE_NOW] {
        remove(&folder.join(file)).with_context(context)?;
    }
    resume::forget(&folder.join("checkpoints")).with_context(context)?;
    trained_on::FILES.iter().try_for_each(|file| remove(&folder.join(file))).with_context(context)?;
    remove(&folder.join(RECIPE)).with_context(context)
}

/// Whether the recipe in `folder`, if there is one, was written by a run: beside its tasks, or with every default
/// written out as a run does it, which may have been killed before it wrote more.
fn is_a_runs(folder: &Path, registries: &Arc<Registries>) -> Result<bool> {
    let path = folder.join(RECIPE);
    if !path.exists() || folder.join(trained_on::TASKS).exists() {
        return Ok(true);
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let recipe = Recipe::parse_resolved(registries, RECIPE, &text);
    Ok(recipe.and_then(|recipe| recipe.to_toml()).is_ok_and(|resolved| resolved == text))
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.exists() { fs::remove_file(path) } else { Ok(()) }
}
