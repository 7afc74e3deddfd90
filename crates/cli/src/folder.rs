//! A folder that a command makes: it is there whole, or not at all, and never in the place of another.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A folder that is being made beside where it will stand.
pub(crate) struct NewFolder {
    partial: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl NewFolder {
    /// Begins to make `target`.
    ///
    /// # Errors
    /// If there is something already, or the disk refuses.
    pub(crate) fn beside(target: &Path) -> Result<Self> {
        let holds = |mut entries: std::fs::ReadDir| entries.next().is_some();
        if target.is_file() || target.read_dir().is_ok_and(holds) {
            bail!("{}: there is something already; choose another --to, or remove it", target.display());
        }
        let name = target.file_name();
        let name = name.with_context(|| format!("{}: the name of a folder was expected", target.display()))?;
        let partial = target.with_file_name(format!(".{}.partial", name.to_string_lossy()));
        // What a killed command left.
        if partial.exists() {
            std::fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        std::fs::create_dir_all(&partial).with_context(|| format!("cannot make the folder {}", partial.display()))?;
        Ok(Self { partial, target: target.to_path_buf(), kept: false })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn keep(mut self) -> Result<()> {
        let (partial, target) = (&self.partial, &self.target);
        std::fs::rename(partial, target)
            .with_context(|| format!("cannot rename {} to {}", partial.display(), target.display()))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.partial);
        }
    }
}
