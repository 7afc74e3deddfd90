//! A folder that is there whole or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_backbone::checkpoint::{NamedTensor, TEMPORARY_PREFIX, safetensors_bytes};
use serde_json::Value;

/// A folder that is being written, beside the place that it is for.
pub(crate) struct Folder {
    to: PathBuf,
    temporary: PathBuf,
    finished: bool,
}

impl Folder {
    /// Begins the folder `to`, which must not be there, or be empty.
    pub(crate) fn begin(to: &Path) -> Result<Self> {
        if to.exists() {
            let mut entries = to.read_dir().with_context(|| format!("{}: not a folder", to.display()))?;
            if entries.next().is_some() {
                bail!("{}: the folder is not empty; choose another --to, or remove what is in it", to.display());
            }
        }
        let Some(name) = to.file_name() else { bail!("{}: a folder's name was expected", to.display()) };
        let parent = to.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        let temporary = parent.join(format!("{TEMPORARY_PREFIX}{}-{}", std::process::id(), name.display()));
        // Left behind by a killed process of the same number.
        if temporary.exists() {
            remove(&temporary)?;
        }
        std::fs::create_dir(&temporary).with_context(|| format!("cannot make the folder {}", temporary.display()))?;
        Ok(Self { to: to.to_path_buf(), temporary, finished: false })
    }

    /// The folder `name` in it, which is finished with it.
    pub(crate) fn part(&self, name: &str) -> Self {
        let (to, temporary) = (self.to.join(name), self.temporary.join(name));
        Self { to, temporary, finished: true }
    }

    /// Writes `bytes` to the file `name`, whose folders are made.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.temporary.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
        }
        std::fs::write(&path, bytes)
            .with_context(|| format!("{}: `{name}` cannot be written; check the free space", self.to.display()))
    }

    pub(crate) fn write_json(&self, name: &str, value: &Value) -> Result<()> {
        self.write(name, format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
    }

    pub(crate) fn write_tensors<'a>(
        &self,
        name: &str,
        tensors: impl IntoIterator<Item = (String, &'a NamedTensor)>,
    ) -> Result<()> {
        self.write(name, &safetensors_bytes(tensors)?)
    }

    /// Puts the folder where it is for.
    pub(crate) fn finish(mut self) -> Result<()> {
        // Not every system renames over an empty folder.
        if self.to.exists() {
            std::fs::remove_dir(&self.to).with_context(|| format!("{}: cannot be replaced", self.to.display()))?;
        }
        std::fs::rename(&self.temporary, &self.to)
            .with_context(|| format!("{}: the folder cannot be put there", self.to.display()))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.finished {
            // The error that ended the writing is the one to be told.
            let _ = remove(&self.temporary);
        }
    }
}

fn remove(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() -> Result<()> {
        let place = tempfile::tempdir()?;
        let to = place.path().join("a/b");
        let begun = Folder::begin(&to)?;
        begun.write("x/y.txt", b"z")?;
        assert!(!to.exists());
        drop(begun);
        assert_eq!(place.path().join("a").read_dir()?.count(), 0, "nothing is left of what was given up");
        std::fs::create_dir(&to)?;
        let begun = Folder::begin(&to)?;
        begun.write("x/y.txt", b"z")?;
        begun.finish()?;
        assert_eq!(std::fs::read_to_string(to.join("x/y.txt"))?, "z");
        let error = Folder::begin(&to).err().context("it is full")?.to_string();
        assert!(error.contains("not empty") && error.contains("--to"), "{error}");
        Ok(())
    }
}
