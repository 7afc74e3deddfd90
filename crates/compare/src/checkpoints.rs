//! Whether the checkpoints of a run are whole, before anything continues from them.

use std::path::Path;

use anyhow::{Context, Result};

/// Checks every checkpoint in `folder` beside those that a training goes on from, of which it takes the newest sound one:
/// better now than when the run ends.
///
/// # Errors
/// If one is damaged: names the file.
pub(super) fn verify(folder: &Path) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    let mut checkpoints = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        checkpoints.push(entry.with_context(context)?.path());
    }
    checkpoints.sort();
    for checkpoint in checkpoints {
        let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
        let is_passing = name.starts_with('.') || name.ends_with(".previous") || name.ends_with(".damaged");
        if !is_passing && name != "last" && checkpoint.is_dir() {
            mtl_train::verify_checkpoint(&checkpoint)?;
        }
    }
    Ok(())
}
