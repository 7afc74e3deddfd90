//! A file that is being read, looked at with suspicion: downloads fail in ways that leave a file behind.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::record::{At, Place};
use crate::manifest::ReaderSpec;

/// A file to read.
pub struct Source<'a> {
    /// What it is called in messages.
    pub name: Arc<str>,
    path: &'a Path,
}

impl<'a> Source<'a> {
    /// The file at `path`.
    pub fn new(path: &'a Path) -> Self {
        Self { name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into(), path }
    }

    /// A record that begins at `line`, from 1.
    pub fn line(&self, line: usize) -> Place {
        Place { file: self.name.clone(), at: At::Line(line) }
    }

    /// The `record`-th record, from 1, of a file without lines.
    pub fn record(&self, record: usize) -> Place {
        Place { file: self.name.clone(), at: At::Record(record) }
    }

    /// The file's bytes, unless they are plainly no data.
    ///
    /// # Errors
    /// If it cannot be read, or is empty, a web page or a git-LFS pointer.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = std::fs::read(self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            bail!("{}: the file is empty; fetch it again", self.name);
        }
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).trim_start().to_lowercase();
        if start.starts_with("<!doctype html") || start.starts_with("<html") {
            bail!("{}: byte 0: an HTML page, not data; fetch it again, and check endpoint and login", self.name);
        }
        if start.starts_with("version https://git-lfs") {
            bail!(
                "{}: byte 0: a git-LFS pointer of {} bytes, not the data itself; run `git lfs pull`, or fetch it again",
                self.name,
                bytes.len()
            );
        }
        Ok(bytes)
    }

    /// The file as text, in the encoding that its byte order mark or the manifest names, without that mark.
    ///
    /// # Errors
    /// As [`Source::bytes`], or if the encoding is unknown or not the file's.
    pub fn text(&self, spec: &ReaderSpec) -> Result<String> {
        super::encoding::decode(self, self.bytes()?, spec.encoding.as_deref())
    }
}
