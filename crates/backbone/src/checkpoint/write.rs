//! Writing tensors so that a file is either the old one or the whole new one, whenever the power goes.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::{View, serialize_to_file};

/// Writes `tensors` to `path` as safetensors: to a temporary file beside it, synced, then renamed over it.
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
    let place = || format!("{}: cannot be written; check the folder's permissions and free space", path.display());
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // Temporary files are private by default; a checkpoint is readable as the user's mask says.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let temporary = builder.prefix(".writing-").tempfile_in(folder).with_context(place)?;
    // transformers reads files only if they say that they were laid out for PyTorch.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    serialize_to_file(tensors, Some(metadata), temporary.path()).with_context(place)?;
    temporary.as_file().sync_all().with_context(place)?;
    temporary.persist(path).with_context(place)?;
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(place)?;
    Ok(())
}
