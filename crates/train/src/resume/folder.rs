//! Checkpoint folders that survive a kill at any moment, and another one while the first is being cleared up.
//!
//! Saving `name` goes like this:
//!
//! 1. The files are written into `.name.new`, the manifest last. From then on this is a whole checkpoint.
//! 2. `name.previous` is removed, its manifest first; `name` becomes `name.previous`; `.name.new` becomes `name`.
//! 3. Unless it is to stay, `name.previous` is removed.
//!
//! So whatever is removed, something newer stands whole. [`settle`] finishes what a killed process began: a whole
//! `.name.new` continues with step 2, any other is removed. [`find`] changes nothing and takes the newest whole folder
//! under any of the three names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_backbone::checkpoint::TEMPORARY_PREFIX;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[cfg(test)]
use super::STATE;
use super::{LAST, MANIFEST, hex};
use crate::store::write_atomically;

/// Called before every change of the disk; what it refuses is not done, nor anything after it. Tests end a save there.
pub(super) type Gate<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// The names that a checkpoint can be found under, the one that a save writes first.
struct Places {
    new: PathBuf,
    target: PathBuf,
    previous: PathBuf,
}

impl Places {
    fn of(folder: &Path, name: &str) -> Self {
        Self {
            new: folder.join(format!(".{name}.new")),
            target: folder.join(name),
            previous: folder.join(format!("{name}.previous")),
        }
    }
}

/// Writes `files` as the checkpoint `name` in `folder`. The one before it stays as `name.previous` if `name` is
/// [`LAST`].
pub(super) fn write(folder: &Path, name: &str, files: &[(&str, Vec<u8>)], gate: Gate) -> Result<()> {
    let places = Places::of(folder, name);
    let context = || format!("cannot write {}", places.target.display());
    settle_one(folder, name, gate).with_context(context)?;
    let mut manifest = BTreeMap::new();
    for (file, bytes) in files {
        gate()?;
        write_atomically(&places.new.join(file), bytes)?;
        manifest.insert(*file, hex(&Sha256::digest(bytes)));
    }
    gate()?;
    write_atomically(&places.new.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
    promote(folder, name, gate).with_context(context)
}

/// Gives `.name.new`, which is whole, its name.
fn promote(folder: &Path, name: &str, gate: Gate) -> io::Result<()> {
    let Places { new, target, previous } = Places::of(folder, name);
    sync(folder)?;
    if target.exists() {
        remove(&previous, gate)?;
        gate()?;
        fs::rename(&target, &previous)?;
        sync(folder)?;
    }
    gate()?;
    fs::rename(&new, &target)?;
    sync(folder)?;
    if name != LAST {
        remove(&previous, gate)?;
    }
    Ok(())
}

/// Finishes or clears away what killed saves left in `folder`, which nobody else may be writing to.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn settle(folder: &Path) -> Result<()> {
    settle_all(folder, &mut || Ok(())).with_context(|| format!("cannot clear up {}", folder.display()))
}

/// Removes what killed writes left in `folders`, which nobody else may be writing to; a folder that is not there is
/// passed over.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn sweep(folders: &[&Path]) -> Result<()> {
    let swept = |folder: &Path| -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let left_over = entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
            if left_over && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    let there = folders.iter().filter(|folder| folder.exists());
    there.copied().try_for_each(|folder| swept(folder).with_context(|| format!("cannot clear up {}", folder.display())))
}

pub(super) fn settle_all(folder: &Path, gate: Gate) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let entries: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    for entry in &entries {
        let Some(entry) = entry.to_str() else { continue };
        if entry.starts_with(TEMPORARY_PREFIX) {
            gate()?;
            fs::remove_file(folder.join(entry))?;
        } else if let Some(name) = entry.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")) {
            settle_one(folder, name, gate)?;
        } else if let Some(name) = entry.strip_suffix(".previous") {
            let Places { target, previous, .. } = Places::of(folder, name);
            if is_whole(&target) && name != LAST {
                remove(&previous, gate)?;
            }
        }
    }
    Ok(())
}

fn settle_one(folder: &Path, name: &str, gate: Gate) -> io::Result<()> {
    let places = Places::of(folder, name);
    if is_whole(&places.new) { promote(folder, name, gate) } else { remove(&places.new, gate) }
}

/// Removes a checkpoint, its manifest first, so that what is left of it is not taken for whole.
pub(super) fn remove(checkpoint: &Path, gate: Gate) -> io::Result<()> {
    if !checkpoint.exists() {
        return Ok(());
    }
    let manifest = checkpoint.join(MANIFEST);
    if manifest.exists() {
        gate()?;
        fs::remove_file(manifest)?;
        sync(checkpoint)?;
    }
    for entry in fs::read_dir(checkpoint)? {
        let entry = entry?;
        gate()?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    gate()?;
    fs::remove_dir(checkpoint)
}

/// What was renamed is on disk only once the folder is.
fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

fn is_whole(checkpoint: &Path) -> bool {
    checkpoint.join(MANIFEST).exists()
}

/// The checkpoint called `name` in `folder`, if there is one: the newest whole one that a save, killed or not, left.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    candidates(folder, name).into_iter().next()
}

/// The whole checkpoints under any of the names of `name`, newest first. Whole is what has a manifest; whether its
/// files are what they were takes reading them, see [`verify`].
pub(super) fn candidates(folder: &Path, name: &str) -> Vec<PathBuf> {
    let Places { new, target, previous } = Places::of(folder, name);
    let mut found: Vec<(PathBuf, Age)> = [new, target, previous]
        .into_iter()
        .filter(|place| is_whole(place))
        .map(|place| {
            let age = age(&place);
            (place, age)
        })
        .collect();
    // Stable: of two of one age the one that was written later stays in front.
    found.sort_by(|a, b| b.1.cmp(&a.1));
    found.into_iter().map(|(place, _)| place).collect()
}

/// How far a checkpoint's run was.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    step: usize,
    phase: usize,
}

/// One that cannot be read counts as new, so that it is missed aloud and not passed over.
fn age(checkpoint: &Path) -> Age {
    let text = fs::read_to_string(super::state_file(checkpoint)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Age { step: usize::MAX, phase: usize::MAX })
}

/// Checks every file of a checkpoint against its manifest.
pub(crate) fn verify(checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: BTreeMap<String, String> =
        serde_json::from_str(&text).with_context(|| format!("{}: damaged", path.display()))?;
    for (file, wanted) in &manifest {
        if file.contains(['/', '\\']) {
            bail!("{}: damaged: `{file}` is not a plain file name", path.display());
        }
        let place = checkpoint.join(file);
        let bytes = fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        let found = hex(&Sha256::digest(&bytes));
        if found != *wanted {
            bail!("{}: damaged: its SHA-256 is {found}, the manifest says {wanted}", place.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(folder: &Path, name: &str, step: usize, gate: Gate) -> Result<()> {
        let state = format!("{{\"step\": {step}, \"phase\": 0}}").into_bytes();
        write(folder, name, &[("model", vec![step as u8; 64]), (STATE, state)], gate)
    }

    /// Lets `count` changes of the disk through and no other.
    fn after(count: usize) -> impl FnMut() -> io::Result<()> {
        let mut left = count;
        move || {
            left = left.checked_sub(1).ok_or_else(|| io::Error::other("killed"))?;
            Ok(())
        }
    }

    /// The step of the checkpoint that is found, whose files are those that were saved; 0 if there is none.
    fn found(folder: &Path, name: &str) -> usize {
        let Some(checkpoint) = find(folder, name) else { return 0 };
        verify(&checkpoint).expect("sound");
        let step = age(&checkpoint).step;
        assert_eq!(fs::read(checkpoint.join("model")).expect("a model"), vec![step as u8; 64]);
        step
    }

    /// Something that is done to a folder, with a gate before each change.
    type Deed = fn(&Path, &str, usize, Gate) -> Result<()>;
    const SAVE: Deed = |folder, name, step, gate| save(folder, name, step, gate);
    const SETTLE: Deed = |folder, _, _, gate| Ok(settle_all(folder, gate)?);

    /// Kills `first` before each of its changes, after `before` saves, and `second` before each of its own. Returns how
    /// many pairs that makes.
    fn two_kills(name: &str, before: usize, first: Deed, second: Deed) -> usize {
        let mut pairs = 0;
        for early in 0.. {
            let mut first_ended = false;
            for late in 0.. {
                let place = tempfile::tempdir().expect("a folder");
                let folder = place.path().join("checkpoints");
                for step in 1..=before {
                    save(&folder, name, step, &mut || Ok(())).expect("saved");
                }
                first_ended = first(&folder, name, before + 1, &mut after(early)).is_ok();
                let stands = found(&folder, name);
                assert!(stands >= before, "a kill before change {early} lost step {before}: {stands} is found");
                let second_ended = second(&folder, name, before + 2, &mut after(late)).is_ok();
                let then = found(&folder, name);
                assert!(then >= stands, "kills before changes {early} and {late} lost step {stands}: {then} is found");
                pairs += 1;
                // What comes after finds its way, and leaves nothing over.
                settle(&folder).expect("settled");
                assert_eq!(found(&folder, name), then);
                save(&folder, name, before + 3, &mut || Ok(())).expect("saved");
                assert_eq!(found(&folder, name), before + 3);
                let mut left: Vec<String> = fs::read_dir(&folder)
                    .expect("a folder")
                    .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
                    .collect();
                left.sort();
                let previous = name == LAST && then > 0;
                let wanted: &[&str] = if previous { &["last", "last.previous"] } else { &[name] };
                assert_eq!(left, wanted, "kills before changes {early} and {late}");
                if second_ended {
                    break;
                }
            }
            if first_ended {
                break;
            }
        }
        pairs
    }

    #[test]
    fn no_two_kills_lose_a_checkpoint() {
        let mut pairs = 0;
        for (name, before) in [(LAST, 0), (LAST, 2), ("best", 1)] {
            for second in [SAVE, SETTLE] {
                pairs += two_kills(name, before, SAVE, second);
            }
        }
        assert!(pairs > 200, "only {pairs} pairs of kills were tried");
    }

    #[test]
    fn a_sweep_takes_files_of_killed_writes_and_nothing_else() {
        let place = tempfile::tempdir().expect("a folder");
        let encoder = place.path().join("encoder");
        fs::create_dir_all(encoder.join(".writing-folder")).expect("a folder");
        for file in [".writing-7-0", "encoder/.writing-9-1", "report.json", "encoder/config.json"] {
            fs::write(place.path().join(file), "").expect("written");
        }
        sweep(&[place.path(), &encoder, &place.path().join("none")]).expect("swept");
        let left = |file: &str| place.path().join(file).exists();
        assert!(!left(".writing-7-0") && !left("encoder/.writing-9-1"));
        assert!(left("report.json") && left("encoder/config.json") && left("encoder/.writing-folder"));
    }

    #[test]
    fn files_of_killed_writes_are_cleared_away_and_others_stay() {
        let place = tempfile::tempdir().expect("a folder");
        for file in [".writing-7-0", "each-0.safetensors", ".gitignore"] {
            fs::write(place.path().join(file), "").expect("written");
        }
        settle(place.path()).expect("settled");
        let left = |file: &str| place.path().join(file).exists();
        assert!(!left(".writing-7-0") && left("each-0.safetensors") && left(".gitignore"));
        settle(&place.path().join("none")).expect("nothing to do");
    }
}
