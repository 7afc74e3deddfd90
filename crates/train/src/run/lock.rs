//! One process a run folder.
//!
//! The lock is the operating system's own, on a file in the folder, so that it ends with its process, however that
//! ends: a killed run leaves no lock behind. The file holds the process's number, for the message of the one refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A run folder that is this process's alone until the lock is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// Takes the run folder `folder`.
    ///
    /// # Errors
    /// If another process has it, naming the process; if the folder cannot be written.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(".lock");
        let context = || format!("cannot lock {}", path.display());
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = std::fs::read_to_string(&path).unwrap_or_default();
                bail!(
                    "{}: process {} is training in it; wait for that one to end, or choose another --out",
                    folder.display(),
                    if holder.trim().is_empty() { "of unknown number" } else { holder.trim() }
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        file.set_len(0).with_context(context)?;
        write!(file, "{}", std::process::id()).with_context(context)?;
        Ok(Self(file))
    }

    /// Whether no process has the run folder `folder`, as far as can be told without taking it.
    pub(super) fn is_free(folder: &Path) -> bool {
        match File::open(folder.join(".lock")) {
            Ok(file) => !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_when_the_lock_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("run");
        let first = Lock::take(&out).expect("free");
        let error = Lock::take(&out).expect_err("taken").to_string();
        assert!(error.contains(&std::process::id().to_string()) && error.contains("--out"), "{error}");
        assert!(!Lock::is_free(&out));
        drop(first);
        assert!(Lock::is_free(&out) && Lock::is_free(&out), "asking takes nothing");
        std::fs::write(out.join(".lock"), "a number that a killed process left").expect("written");
        Lock::take(&out).expect("free again");
        assert_eq!(std::fs::read_to_string(out.join(".lock")).expect("read"), std::process::id().to_string());
    }
}
