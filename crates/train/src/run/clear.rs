//! Beginning anew: what a run left in its folder is removed, and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::save_now::SAVE_NOW;
use super::stored::RECIPE;
use super::{METRICS, REPORT};
use crate::{resume, trained_on};

/// Removes the run in `folder`, which is a run's own (see [`super::place`]) and locked. After a kill on the way neither
/// the one run nor the other is taken for whole: the report goes first, and the recipe last.
///
/// # Errors
/// If the disk refuses.
pub(super) fn clear(folder: &Path) -> Result<()> {
    let context = || format!("cannot remove the run in {}", folder.display());
    for file in [REPORT, "report.md", METRICS, SAVE_NOW] {
        remove(&folder.join(file)).with_context(context)?;
    }
    resume::forget(&folder.join("checkpoints")).with_context(context)?;
    trained_on::FILES.iter().try_for_each(|file| remove(&folder.join(file))).with_context(context)?;
    remove(&folder.join(RECIPE)).with_context(context)
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.exists() { fs::remove_file(path) } else { Ok(()) }
}
