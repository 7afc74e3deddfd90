//! A file that is being read, looked at with suspicion: downloads fail in ways that leave a file behind.

use std::cell::RefCell;
use std::fs::{File, FileType};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::record::{At, Place};
use crate::manifest::ReaderSpec;

/// A larger file is refused: it is read as a whole.
const MOST_BYTES: u64 = 4 << 30;

/// A table of more cells than this does not fit a usual machine's memory.
pub(super) const MOST_CELLS: usize = 100_000_000;

/// A file to read.
pub struct Source<'a> {
    /// What it is called in messages.
    pub name: Arc<str>,
    content: Content<'a>,
    notes: RefCell<Vec<String>>,
}

/// Where its bytes are.
enum Content<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

impl<'a> Source<'a> {
    /// The file at `path`.
    pub fn new(path: &'a Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into();
        Self { name, content: Content::File(path), notes: RefCell::default() }
    }

    /// What was read of a stream already, called `name` in messages.
    pub fn of_bytes(name: &str, bytes: &'a [u8]) -> Self {
        Self { name: name.into(), content: Content::Bytes(bytes), notes: RefCell::default() }
    }

    /// A record that begins at `line`, from 1.
    pub fn line(&self, line: usize) -> Place {
        Place { file: self.name.clone(), at: At::Line(line) }
    }

    /// The `record`-th record, from 1, of a file without lines.
    pub fn record(&self, record: usize) -> Place {
        Place { file: self.name.clone(), at: At::Record(record) }
    }

    /// Says something of the file that a person ought to know and that is no error.
    pub fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// The file's bytes, unless they are plainly no data.
    ///
    /// # Errors
    /// If it cannot be read, is no regular file or too large, or is empty, a web page or a git-LFS pointer.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = match self.content {
            Content::Bytes(bytes) => bytes.to_vec(),
            Content::File(path) => self.whole(path).with_context(|| format!("cannot read {}", path.display()))?,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            bail!("{}: the file is empty; fetch it again", self.name);
        }
        let start = String::from_utf8_lossy(bytes.get(..256).unwrap_or(&bytes)).trim_start().to_lowercase();
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

    /// All bytes of a regular file: a pipe or a device is not opened, for that may wait or go on without end.
    fn whole(&self, path: &Path) -> Result<Vec<u8>> {
        let seen = std::fs::metadata(path)?;
        if !seen.is_file() {
            bail!("{}: it is {}, and data lies in regular files", self.name, kind(seen.file_type()));
        }
        let too_large = |length: u64| -> Result<()> {
            if length > MOST_BYTES {
                bail!("{}: it has {length} bytes; at most {MOST_BYTES} are read, so split it", self.name);
            }
            Ok(())
        };
        too_large(seen.len())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(seen.len() as usize)?;
        // Files of some systems say that they have no bytes and give many.
        File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        too_large(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// The file as text, in the encoding that its byte order mark or the manifest names, without that mark. Where lines
    /// end in a carriage return alone, these become line feeds.
    ///
    /// # Errors
    /// As [`Source::bytes`], or if the encoding is unknown or not the file's.
    pub fn text(&self, spec: &ReaderSpec) -> Result<String> {
        let text = super::encoding::decode(self, self.bytes()?, spec.encoding.as_deref())?;
        Ok(if text.contains('\r') && !text.contains('\n') { text.replace('\r', "\n") } else { text })
    }
}

#[cfg(unix)]
fn kind(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;

    match found {
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a named pipe",
        found if found.is_socket() => "a socket",
        found if found.is_block_device() || found.is_char_device() => "a device",
        _ => "no regular file",
    }
}

#[cfg(not(unix))]
fn kind(found: FileType) -> &'static str {
    if found.is_dir() { "a folder" } else { "no regular file" }
}
