//! Whether the checkpoints of a run are whole, before anything continues from them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Whether there is a checkpoint in `folder` that a run continues from.
///
/// # Errors
/// If one is there that lacks its manifest: a whole one is renamed into its place, so that its manifest was removed.
pub(super) fn can_continue(folder: &Path) -> Result<bool> {
    let is_whole = |name: &str| folder.join(name).join("manifest.json").exists();
    // A crash between the two renames of a save leaves the new one without its name.
    if is_whole("last") || is_whole(".last.new") {
        return Ok(true);
    }
    let last = folder.join("last");
    ensure!(!last.exists(), "{}: damaged: it is missing", last.join("manifest.json").display());
    Ok(is_whole("last.previous"))
}

/// Checks the files of every checkpoint in `folder` against the SHA-256 of its manifest.
///
/// # Errors
/// If one cannot be read or has other bytes: names it.
pub(super) fn verify(folder: &Path) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    let mut checkpoints = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        checkpoints.push(entry.with_context(context)?.path());
    }
    checkpoints.sort();
    for checkpoint in checkpoints {
        let hidden = checkpoint.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let manifest = checkpoint.join("manifest.json");
        if hidden || !manifest.exists() {
            continue;
        }
        let text = std::fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let wanted: BTreeMap<String, String> =
            serde_json::from_slice(&text).with_context(|| format!("{}: damaged", manifest.display()))?;
        for (name, wanted) in wanted {
            let path = checkpoint.join(&name);
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            if found != wanted {
                bail!("{}: damaged: its SHA-256 is {found}, its manifest says {wanted}", path.display());
            }
        }
    }
    Ok(())
}
