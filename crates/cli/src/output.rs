//! Everything that is written to the standard streams. Nobody ends a run by closing a terminal: what is written beside
//! work is written if it can be, and lost if it cannot. What a file or a server said in it steers no terminal.

use std::fmt;
use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

use crate::printable::printable;

/// The reader of standard output has gone, as `head` does when it has read enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl std::error::Error for Closed {}

/// Writes a line that somebody waits for to standard output.
///
/// # Errors
/// [`Closed`] if nobody reads any more; that of the disk if it is a file.
pub fn line(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", printable(line)).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// Writes to standard output what is on disk already: whether it can be written changes nothing.
pub fn result(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", printable(text)).and_then(|()| out.flush());
}

/// Writes a line of news to standard error, if it can be written.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(line));
}
