//! Temporary folders, and those that killed processes left.
//!
//! A folder of this process goes when it is dropped, but a killed process drops nothing. Beside the files of an item only
//! one process at a time has such a folder, so that any other is left over. In the system's temporary folder there are
//! those of many processes; each holds a lock on a file in its own, and what is locked by nobody is left over.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::{Builder, TempDir};

const UNPACKED: &str = ".unpacked-";
const PACKAGE: &str = "mtl-package-";
const GUARD: &str = ".guard";

/// A folder in `partial`, whose item nobody else is fetching.
pub(crate) fn folder_in(partial: &Path) -> Result<TempDir> {
    let folder = Builder::new().prefix(UNPACKED).tempdir_in(partial);
    folder.with_context(|| format!("cannot make a folder in {}", partial.display()))
}

/// Removes the folders that killed processes left in `partial`, whose item nobody else is fetching.
pub(crate) fn remove(partial: &Path) -> Result<()> {
    for path in folders(partial, &[UNPACKED, ".tmp"]).with_context(|| format!("cannot read {}", partial.display()))? {
        std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// A folder of this process alone, with the lock that says so.
pub(crate) struct Held {
    folder: TempDir,
    _guard: File,
}

impl Held {
    /// A new one in `parent`, in which those of killed processes are removed.
    pub(crate) fn new_in(parent: &Path) -> Result<Self> {
        sweep(parent);
        let context = || format!("cannot make a temporary folder in {}", parent.display());
        let folder = Builder::new().prefix(PACKAGE).tempdir_in(parent).with_context(context)?;
        let guard = File::create(folder.path().join(GUARD)).with_context(context)?;
        guard.lock().with_context(context)?;
        Ok(Self { folder, _guard: guard })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders in `parent` whose process is gone. It is everybody's folder: what cannot be removed stays.
fn sweep(parent: &Path) {
    for path in folders(parent, &[PACKAGE]).unwrap_or_default() {
        // One without its lock is being made.
        let Ok(guard) = File::options().append(true).open(path.join(GUARD)) else { continue };
        if guard.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// The folders in `parent` whose name begins with one of `prefixes`; links are none.
fn folders(parent: &Path, prefixes: &[&str]) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        if ours && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().expect("a folder");
        let live = Held::new_in(parent.path()).expect("made");
        let made = |name: &str, guarded: bool| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).expect("made");
            if guarded {
                std::fs::write(path.join(GUARD), "").expect("written");
            }
            path
        };
        let dead = made("mtl-package-dead", true);
        let others = [made("mtl-package-young", false), made("package-of-others", true)];
        let second = Held::new_in(parent.path()).expect("made");
        assert!(live.path().exists() && second.path().exists() && !dead.exists());
        assert!(others.iter().all(|path| path.exists()));
        let gone = second.path().to_path_buf();
        drop(second);
        assert!(!gone.exists());
    }

    #[test]
    fn unpacked_files_of_a_killed_fetch_are_removed_and_its_beginnings_stay() {
        let partial = tempfile::tempdir().expect("a folder");
        let left = folder_in(partial.path()).expect("made").keep();
        std::fs::write(left.join("file"), "").expect("written");
        std::fs::write(partial.path().join("model.safetensors.part"), "half").expect("written");
        remove(partial.path()).expect("removed");
        assert!(!left.exists() && partial.path().join("model.safetensors.part").exists());
    }
}
