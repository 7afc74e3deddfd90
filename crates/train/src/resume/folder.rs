//! Checkpoint folders that survive a kill at any moment, and another one while the first is being cleared up.
//!
//! Saving `name` goes like this:
//!
//! 1. The files are written into `.name.new`, the manifest last. From then on this is a whole checkpoint.
//! 2. `name.previous` is removed, its manifest first; `name` becomes `name.previous`; `.name.new` becomes `name`.
//! 3. Unless it is to stay, `name.previous` is removed.
//!
//! So whatever is removed, something newer stands whole, and of the three names the first one that is whole is the newest.
//! [`settle`] finishes what a killed process began: a whole `.name.new` continues with step 2, any other is removed.
//! [`find`] changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mtl_backbone::checkpoint::TEMPORARY_PREFIX;
use sha2::{Digest, Sha256};

use super::{LAST, MANIFEST, hex};
use crate::store::write_atomically;

/// Called before every change of the disk; what it refuses is not done, nor anything after it. Tests end a save there.
pub(super) type Gate<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// A SHA-256.
pub(super) type Digest256 = [u8; 32];

/// What makes a file's bytes when its turn has come.
pub(super) type Content<'a> = &'a dyn Fn() -> Result<Vec<u8>>;

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
/// [`LAST`]. Answers the digest of each file, in their order.
pub(super) fn write(folder: &Path, name: &str, files: &[(&str, Content)], gate: Gate) -> Result<Vec<Digest256>> {
    let places = Places::of(folder, name);
    let context = || format!("cannot write {}", places.target.display());
    settle_one(folder, name, gate).with_context(context)?;
    let (mut manifest, mut digests) = (BTreeMap::new(), Vec::new());
    for (file, content) in files {
        gate()?;
        let bytes = content()?;
        write_atomically(&places.new.join(file), &bytes)?;
        let digest: Digest256 = Sha256::digest(&bytes).into();
        manifest.insert(*file, hex(&digest));
        digests.push(digest);
    }
    gate()?;
    write_atomically(&places.new.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
    promote(folder, name, gate).with_context(context)?;
    Ok(digests)
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

/// Removes the files that killed writes left in the run folder `run`, which nobody else may be writing to: beside its own
/// files, those of the encoder, and the checkpoints.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn sweep(run: &Path) -> Result<()> {
    let checkpoints = run.join("checkpoints");
    let mut folders = vec![run.to_path_buf(), run.join("encoder"), checkpoints.clone()];
    folders.extend(entries(&checkpoints)?.into_iter().filter(|entry| entry.is_dir()));
    folders.iter().try_for_each(|folder| sweep_one(folder))
}

/// Removes the files that killed writes left in `folder`, which nobody else may be writing to; a folder that is not
/// there is passed over.
///
/// # Errors
/// If the disk refuses.
pub fn sweep_one(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let name = entry.file_name().and_then(|name| name.to_str());
        // Of a link the link itself.
        let is_file = fs::symlink_metadata(&entry).is_ok_and(|found| found.is_file());
        if is_file && name.is_some_and(|name| name.starts_with(TEMPORARY_PREFIX)) {
            fs::remove_file(&entry).with_context(|| format!("cannot remove {}", entry.display()))?;
        }
    }
    Ok(())
}

/// The paths in `folder`; none if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let read = || -> io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect() };
    read().with_context(|| format!("cannot clear up {}", folder.display()))
}

pub(super) fn settle_all(folder: &Path, gate: Gate) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let entries: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    for entry in &entries {
        let Some(entry) = entry.to_str() else { continue };
        if let Some(name) = entry.strip_prefix('.').and_then(|rest| rest.strip_suffix(".new")) {
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

/// The checkpoint called `name` in `folder`, if there is one: the newest that a save, killed or not, left.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    candidates(folder, name).into_iter().next()
}

/// The checkpoints under any of the names of `name`, newest first. Whether their files are what they were takes reading
/// them, see [`verify`](super::verify). One that has its name is there even without a manifest, for a save never leaves
/// one so: it is missed aloud and not passed over.
pub(super) fn candidates(folder: &Path, name: &str) -> Vec<PathBuf> {
    let Places { new, target, previous } = Places::of(folder, name);
    let is_there = |place: &PathBuf| is_whole(place) || *place == target && place.is_dir();
    [new, target.clone(), previous].into_iter().filter(is_there).collect()
}

/// Where the checkpoint stands that `name` replaced.
pub(super) fn previous(folder: &Path, name: &str) -> PathBuf {
    Places::of(folder, name).previous
}

/// Where a damaged checkpoint `name` is kept.
pub(super) fn damaged(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.damaged"))
}

/// Gives the name `name` to `sound`, the checkpoint before it; returns where the damaged one is now. At every moment the
/// sound one is found.
///
/// # Errors
/// If the disk refuses.
pub(super) fn set_aside(folder: &Path, name: &str, sound: &Path) -> Result<PathBuf> {
    let (target, aside) = (Places::of(folder, name).target, damaged(folder, name));
    let moved = || -> io::Result<()> {
        remove(&aside, &mut || Ok(()))?;
        if target.exists() && target != sound {
            fs::rename(&target, &aside)?;
            sync(folder)?;
        }
        fs::rename(sound, &target)?;
        sync(folder)
    };
    moved().with_context(|| format!("cannot set {} aside", target.display()))?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(folder: &Path, name: &str, step: usize, gate: Gate) -> Result<()> {
        write(folder, name, &[("model", &|| Ok(vec![step as u8; 64])), ("step", &|| Ok(vec![step as u8]))], gate)
            .map(drop)
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
        let read = |file: &str| fs::read(checkpoint.join(file)).expect(file);
        let manifest: BTreeMap<String, String> = serde_json::from_slice(&read(MANIFEST)).expect("a manifest");
        assert_eq!(manifest.keys().collect::<Vec<_>>(), ["model", "step"]);
        assert!(manifest.iter().all(|(file, wanted)| hex(&Sha256::digest(read(file))) == *wanted));
        let step = read("step")[0];
        assert_eq!(read("model"), [step; 64]);
        step.into()
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
        let run = place.path();
        for folder in ["encoder/.writing-folder", "checkpoints/last", "mine"] {
            fs::create_dir_all(run.join(folder)).expect("a folder");
        }
        let killed =
            [".writing-7-0", "encoder/.writing-9-1", "checkpoints/.writing-3-1", "checkpoints/last/.writing-4-4"];
        let others =
            ["report.json", "encoder/config.json", "checkpoints/each-0.safetensors", ".gitignore", "mine/.writing-1"];
        killed.iter().chain(&others).for_each(|file| fs::write(run.join(file), "").expect("written"));
        sweep(run).expect("swept");
        assert!(!killed.iter().any(|file| run.join(file).exists()));
        assert!(others.iter().chain(&["encoder/.writing-folder"]).all(|file| run.join(file).exists()));
        sweep(&run.join("none")).expect("nothing to do");
        settle(&run.join("none")).expect("nothing to do");
    }

    #[test]
    fn a_damaged_checkpoint_makes_room_for_the_one_before_it() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path();
        for step in 1..=2 {
            save(folder, LAST, step, &mut || Ok(())).expect("saved");
        }
        fs::remove_file(folder.join("last").join(MANIFEST)).expect("removed");
        let candidates = candidates(folder, LAST);
        assert_eq!(candidates, [folder.join("last"), folder.join("last.previous")], "without a manifest it is missed");
        let aside = set_aside(folder, LAST, &candidates[1]).expect("set aside");
        assert_eq!(found(folder, LAST), 1);
        assert_eq!(fs::read(aside.join("step")).expect("kept"), [2]);
        save(folder, LAST, 3, &mut || Ok(())).expect("saved");
        assert_eq!(found(folder, LAST), 3);
        assert_eq!(fs::read(folder.join("last.previous/step")).expect("kept"), [1], "two sound ones, as ever");
    }
}
