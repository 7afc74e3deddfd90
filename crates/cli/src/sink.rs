//! Where answers go: standard output, or a file that is there when all of them are.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::output;

pub(crate) enum Sink {
    Standard,
    File(Partial),
}

/// A file that is being written beside where it will stand.
pub(crate) struct Partial {
    file: BufWriter<File>,
    partial: PathBuf,
    target: PathBuf,
}

impl Sink {
    /// Begins to write `target`, or to standard output.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn open(target: Option<&Path>) -> Result<Self> {
        let Some(target) = target else { return Ok(Self::Standard) };
        let name = target.file_name();
        let name = name.with_context(|| format!("{}: the name of a file was expected", target.display()))?;
        let partial = target.with_file_name(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
        let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        Ok(Self::File(Partial { file: BufWriter::new(file), partial, target: target.to_path_buf() }))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`output::Closed`] if nobody reads any more; that of the disk.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        match self {
            Self::Standard => output::line(line),
            Self::File(file) => file.write(&format!("{line}\n")),
        }
    }

    /// Writes `text`, which ends its lines itself, as it is.
    ///
    /// # Errors
    /// As [`Sink::line`].
    pub(crate) fn data(&mut self, text: &str) -> Result<()> {
        match self {
            Self::Standard => output::data(text),
            Self::File(file) => file.write(text),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// That of the disk.
    pub(crate) fn finish(self) -> Result<()> {
        let Self::File(mut file) = self else { return Ok(()) };
        let context = || format!("cannot write {}", file.target.display());
        file.file.flush().and_then(|()| file.file.get_ref().sync_all()).with_context(context)?;
        std::fs::rename(&file.partial, &file.target).with_context(context)
    }
}

impl Partial {
    fn write(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", self.target.display()))
    }
}

impl Drop for Partial {
    /// What has its name already is not there any more.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.partial);
    }
}
