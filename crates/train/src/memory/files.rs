//! Files that are too large to be loaded at all, refused before one is opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use mtl_backbone::checkpoint::stated_weights;
use serde_json::Value;

use super::available::Available;
use super::fit::readable;
use crate::assemble::{Located, LocatedDataset};

/// Refuses a model or data whose files alone are larger than the memory that is available. What a file becomes when it
/// is read is rather more than less: weights stand in memory twice, and texts beside their tokens.
///
/// # Errors
/// Names the folder with the largest files, its size, and what is available.
pub(crate) fn check_files(located: &Located, available: Option<Available>) -> Result<()> {
    let Some(available) = available else { return Ok(()) };
    let model = located.model.folder.iter().map(|folder| ("model", &located.model.name, size(folder, weights)));
    // Several tasks may read one table.
    let mut seen = BTreeSet::new();
    let data = located.datasets.iter().map(|dataset| {
        let named = files(dataset).filter(|path| seen.insert(path.clone())).map(|path| length(&path));
        ("dataset", &dataset.name, named.sum())
    });
    let found: Vec<(&str, &String, u64)> = model.chain(data).collect();
    let sum: u64 = found.iter().map(|(.., bytes)| bytes).sum();
    let Some((kind, name, bytes)) = found.into_iter().max_by_key(|(.., bytes)| *bytes) else { return Ok(()) };
    if sum > available.bytes {
        bail!(
            "the files of this recipe do not fit into memory: they are {} ({kind} `{name}` alone {}), and {} are left \
             by {}; choose a smaller {kind}, or a machine with more memory",
            readable(sum),
            readable(bytes),
            readable(available.bytes),
            available.bound
        );
    }
    Ok(())
}

/// Refuses the encoder `name` of random weights that its configuration makes larger than the memory that is available:
/// a model keeps it twice, as it was and as it is trained.
///
/// # Errors
/// With its size and what is available.
pub(crate) fn check_random(name: &str, config: &Value, available: Option<Available>) -> Result<()> {
    let (Some(available), Ok(weights)) = (available, stated_weights(config)) else { return Ok(()) };
    let bytes = 8. * weights;
    if bytes > available.bytes as f64 {
        bail!(
            "model `{name}`, [random]: {weights:.1e} weights, kept twice, take {}, and {} are left by {}; lower its layers \
             or widths",
            readable(bytes as u64),
            readable(available.bytes),
            available.bound
        );
    }
    Ok(())
}

/// Refuses the teacher in the run folder `folder` if it cannot be opened beside what is there: its weights stand in memory
/// thrice, as it begins, as they are read and as they answer. `targets` are the bytes of what it says, which stay.
///
/// # Errors
/// With its size and what is available.
pub(crate) fn check_teacher(folder: &Path, targets: u64, available: Option<Available>) -> Result<()> {
    let Some(available) = available else { return Ok(()) };
    let checkpoints = std::fs::read_dir(folder.join("checkpoints")).into_iter().flatten().flatten();
    let largest = checkpoints.map(|entry| size(&entry.path(), |name| name == "model.safetensors")).max().unwrap_or(0);
    if 3 * largest + targets > available.bytes {
        bail!(
            "the teacher in {} does not fit into memory: its weights are {}, kept thrice while it answers, what it says \
             {}, and {} are left by {}; take a smaller teacher, or a machine with more memory",
            folder.display(),
            readable(largest),
            readable(targets),
            readable(available.bytes),
            available.bound
        );
    }
    Ok(())
}

/// The files of `dataset`, where it is not generated.
fn files(dataset: &LocatedDataset) -> impl Iterator<Item = PathBuf> {
    let splits = &dataset.manifest.splits;
    let named = [&splits.train, &splits.dev, &splits.test, &splits.all].into_iter().flatten();
    let read = if dataset.manifest.generator.is_none() { usize::MAX } else { 0 };
    named.take(read).map(|file| dataset.folder.join(file))
}

fn weights(name: &str) -> bool {
    name.ends_with(".safetensors")
}

/// Bytes of the files in `folder` that are `counted`.
fn size(folder: &Path, counted: fn(&str) -> bool) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let counted = entries.filter(|entry| entry.file_name().to_str().is_some_and(counted));
    counted.map(|entry| length(&entry.path())).sum()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}
