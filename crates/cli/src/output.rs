//! Everything that is written to the standard streams. Nobody ends a run by closing a terminal: what is written beside
//! work is written if it can be, and lost if it cannot. What a file or a server said in it steers no terminal.

use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};

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

/// Writes `text`, which ends its lines itself, to standard output: as it is where a program reads it, for it may be data
/// that has to arrive; as [`line()`] does on a terminal.
///
/// # Errors
/// As [`line()`].
pub fn data(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let shown = if out.is_terminal() { printable(text) } else { text.into() };
    match out.write_all(shown.as_bytes()).and_then(|()| out.flush()) {
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

/// Writes `bytes` to standard error without asking for memory, for a process that has none left.
#[cfg(not(unix))]
pub(crate) fn last_words(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// The most letters of a line and lines of a message: a file of one endless line is shown by its beginning.
const LETTERS: usize = 2000;
const LINES: usize = 100;

/// `message` with lines cut that nobody reads to their end.
pub(crate) fn shortened(message: &str) -> String {
    let cut = |line: &str| match line.char_indices().nth(LETTERS).and_then(|(at, _)| line.split_at_checked(at)) {
        Some((start, rest)) => format!("{start} … ({} more letters)", rest.chars().count()),
        None => line.to_string(),
    };
    let mut lines: Vec<String> = message.lines().take(LINES).map(cut).collect();
    let more = message.lines().skip(LINES).count();
    if more > 0 {
        lines.push(format!("… ({more} more lines)"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_where_nobody_reads_it() {
        assert_eq!(shortened("error: a\n  b"), "error: a\n  b");
        let long = format!("{}\nend", "é".repeat(LETTERS + 7));
        assert_eq!(shortened(&long), format!("{} … (7 more letters)\nend", "é".repeat(LETTERS)));
        let many = shortened(&"a\n".repeat(LINES + 3));
        assert!(many.ends_with("a\n… (3 more lines)") && many.lines().count() == LINES + 1, "{many}");
    }
}
