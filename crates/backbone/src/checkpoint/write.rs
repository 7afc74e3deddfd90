//! Writing a file so that it is either the old one or the whole new one, whenever the power goes.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use safetensors::{View, serialize};

/// What the name of a file begins with while it is being written; a killed process leaves such a file behind.
pub const TEMPORARY_PREFIX: &str = ".writing-";

/// Writes `tensors` to `path` as safetensors, as [`write_atomically`] writes.
///
/// Takes a `&BTreeMap<String, NamedTensor>` as well as a list of candle tensors.
///
/// # Errors
/// Those of the file system, naming `path`; the file that was there before is then untouched.
pub fn write_safetensors_atomic<S, V>(path: &Path, tensors: impl IntoIterator<Item = (S, V)>) -> Result<()>
where
    S: AsRef<str> + Ord + Display,
    V: View,
{
    write_atomically(path, &safetensors_bytes(tensors)?)
}

/// The bytes of a safetensors file of `tensors`: the same for any order in which they come. In the file they stand by
/// the width of their type, widest first, and among those by name.
///
/// # Errors
/// If two tensors have one name, which a reader could not tell apart; those of safetensors.
pub fn safetensors_bytes<S, V>(tensors: impl IntoIterator<Item = (S, V)>) -> Result<Vec<u8>>
where
    S: AsRef<str> + Ord + Display,
    V: View,
{
    // transformers reads files only if they say that they were laid out for PyTorch.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let tensors: Vec<(S, V)> = tensors.into_iter().collect();
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    let twice = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next);
    if let Some((name, _)) = twice {
        bail!("two tensors are called `{name}`; each needs a name of its own");
    }
    Ok(serialize(tensors, Some(metadata))?)
}

/// Writes `bytes` to `path`, whose folder must be there: to a temporary file beside it, synced, then renamed over it.
/// Who may read the file is decided by the process's umask alone.
///
/// # Errors
/// Those of the file system, naming `path`; the file that was there before is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let place = || format!("{}: cannot be written; check the folder's permissions and free space", path.display());
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (mut file, temporary) = temporary(folder).with_context(place)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| std::fs::rename(&temporary, path)) {
        let _ = std::fs::remove_file(&temporary);
        return Err(error).with_context(place);
    }
    // The rename is on disk only once the folder is.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
    Ok(())
}

/// A new file in `folder` under a name that nobody has.
fn temporary(folder: &Path) -> std::io::Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id()));
        // Without a mode of its own a file gets 0666 less the umask.
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            // Left behind by a killed process of the same number.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => return Ok((made?, path)),
        }
    }
}
