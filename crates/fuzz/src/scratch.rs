//! Parsers read files: inputs are written into a folder of this process.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder of this process, below the system's for temporary files. Whoever starts fuzzers removes it.
pub fn here() -> PathBuf {
    std::env::temp_dir().join(format!("mtl-fuzz-{}", std::process::id()))
}

/// The folder of one target.
pub(crate) fn folder(target: &str) -> Result<PathBuf> {
    let folder = here().join(target);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The file `name` of a target, which holds `bytes` now.
pub(crate) fn file(target: &str, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = folder(target)?.join(name);
    write(&path, bytes)?;
    Ok(path)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
