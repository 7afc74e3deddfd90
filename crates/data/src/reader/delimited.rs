//! Comma- and tab-separated values (RFC 4180) by the crate `csv`, with or without a header line.
//!
//! A field in double quotes may hold delimiters, line breaks and doubled quotes. Blank lines are passed over. The crate
//! takes any quotes as they come; here they have to be closed, at the end of their field and soon, and may not hold rows
//! of the table: a stray quote would swallow them. A row that repeats the header is refused.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use csv::{ReaderBuilder, StringRecord, Terminator};
use mtl_task::Cell;

use super::dialect::{delimiter, is_header};
use super::record::{Field, Record, named};
use super::source::MOST_CELLS;
use super::swallowed::{self, Suspect};
use super::{Reader, Source};
use crate::manifest::ReaderSpec;

pub(super) const CSV: Reader = Reader {
    name: "csv",
    about: "comma-separated values with a header line",
    endings: &["csv"],
    read: |source, spec| read(source, spec, ','),
};

pub(super) const TSV: Reader = Reader {
    name: "tsv",
    about: "tab-separated values with a header line",
    endings: &["tab", "tsv"],
    read: |source, spec| read(source, spec, '\t'),
};

/// The most lines that a field in quotes may span where the manifest says nothing.
const QUOTED_LINES: usize = 20;

/// The cells of the first row of `path`, whether or not they name its columns.
///
/// # Errors
/// If the file cannot be read, or its first row is malformed.
pub(crate) fn first_row(path: &Path, spec: &ReaderSpec, usual: char) -> Result<Vec<String>> {
    let source = Source::new(path);
    let text = source.text(spec)?;
    let dialect = Dialect::of(&source, spec, &text, usual)?;
    let mut rows = Rows::new(&dialect, &text, 1);
    Ok(rows.next_row()?.map(|(_, row)| row.iter().map(String::from).collect()).unwrap_or_default())
}

fn read(source: &Source, spec: &ReaderSpec, usual: char) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let dialect = Dialect::of(source, spec, &text, usual)?;
    let delimiter = dialect.delimiter;
    let mut rows = Rows::new(&dialect, &text, 1);
    let columns = match spec.header.is_empty() {
        true => rows.next_row()?.map(|(_, row)| row.iter().map(|name| name.trim().to_string()).collect()),
        false => Some(spec.header.clone()),
    };
    let columns = Arc::new(columns.unwrap_or_default());
    let mut known = HashSet::new();
    if let Some(name) = columns.iter().find(|name| !known.insert(name.as_str())) {
        bail!("{}: two columns are called `{name}`; name them anew in [reader] header", source.line(1));
    }
    if spec.skip > 0 {
        let rest = rows.rest.splitn(spec.skip.saturating_add(1), '\n').nth(spec.skip).unwrap_or("");
        rows = Rows::new(&dialect, rest, rows.line.saturating_add(spec.skip));
    }
    let mut records: Vec<Record> = Vec::new();
    let mut suspects: Vec<Suspect> = Vec::new();
    while let Some((line, row)) = rows.next_row()? {
        if row.len() != columns.len() {
            let found = if row.len() == 1 { "1 field".into() } else { format!("{} fields", row.len()) };
            bail!(
                "{}: {found}, expected {} ({}); is a delimiter part of a text, a text without its quotes, or [reader] \
                 delimiter another than {delimiter:?}?",
                source.line(line),
                columns.len(),
                named(&columns)
            );
        }
        if row.get(0).is_some_and(|cell| cell.len() < 100)
            && is_header(row.iter(), &columns, !spec.header.is_empty() && records.is_empty())
        {
            bail!(
                "{}: the row names columns once more ({}), and is no example; {}",
                source.line(line),
                named(&row.iter().map(String::from).collect::<Vec<_>>()),
                if records.is_empty() && !spec.header.is_empty() {
                    "leave header out of the manifest's [reader], or set skip = 1 there"
                } else {
                    "delete it, or the example that reads like it"
                }
            );
        }
        if (records.len() + 1).saturating_mul(columns.len()) > MOST_CELLS {
            bail!(
                "{}: more than {MOST_CELLS} cells in {} columns; keep the columns that are needed, or split the file",
                source.line(line),
                columns.len()
            );
        }
        let fields = row.iter().map(|cell| Field::Cell(Cell::Text(cell.to_string()))).collect();
        suspects.extend(rows.quoted.drain(..).map(|(opened, later, column)| Suspect {
            line: opened,
            later,
            column,
            record: records.len(),
        }));
        records.push(Record { columns: columns.clone(), fields, place: source.line(line) });
    }
    if spec.quoted_lines.is_none() {
        swallowed::refuse(source, &suspects, &records, delimiter)?;
    }
    Ok(records)
}

/// How a file is written.
struct Dialect<'a> {
    source: &'a Source<'a>,
    delimiter: char,
    quotes: bool,
    quoted_lines: usize,
}

/// The rows of a text.
struct Rows<'a> {
    dialect: &'a Dialect<'a>,
    reader: csv::Reader<&'a [u8]>,
    row: StringRecord,
    /// What has not been read, and the line where it begins.
    rest: &'a str,
    line: usize,
    read: usize,
    /// The fields of the row just read that go over lines: where each begins, how many lines later it ends, its column.
    quoted: Vec<(usize, usize, usize)>,
}

impl<'a> Rows<'a> {
    fn new(dialect: &'a Dialect<'a>, text: &'a str, line: usize) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(dialect.delimiter as u8)
            .quoting(dialect.quotes)
            // A carriage return alone is part of a text.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(text.as_bytes());
        Self { dialect, reader, row: StringRecord::new(), rest: text, line, read: 0, quoted: Vec::new() }
    }

    /// The next row that is not blank, and the line where it begins.
    fn next_row(&mut self) -> Result<Option<(usize, StringRecord)>> {
        self.quoted.clear();
        while self.reader.read_record(&mut self.row).with_context(|| self.dialect.source.name.to_string())? {
            let end = self.reader.position().byte() as usize;
            let read = end.saturating_sub(self.read);
            let (written, rest) = self.rest.split_at_checked(read).unwrap_or((self.rest, ""));
            let fields = written.trim_start_matches(['\r', '\n']);
            let line = self.line + newlines(written) - newlines(fields);
            (self.rest, self.read, self.line) = (rest, end, self.line + newlines(written));
            let fields = fields.strip_suffix('\n').unwrap_or(fields);
            if fields.is_empty() {
                continue;
            }
            if self.dialect.quotes && fields.contains('"') {
                self.quoted = self.dialect.check_quotes(fields, line)?;
            }
            // The carriage return of a line that ends in CR LF was taken for the end of its last field.
            let last = self.row.iter().next_back().and_then(|field| field.strip_suffix('\r'));
            if let Some(field) = last.filter(|_| fields.ends_with('\r')) {
                let field = field.to_string();
                self.row.truncate(self.row.len().saturating_sub(1));
                self.row.push_field(&field);
            }
            return Ok(Some((line, std::mem::take(&mut self.row))));
        }
        Ok(None)
    }
}

impl<'a> Dialect<'a> {
    /// As `spec` says and `text` shows.
    fn of(source: &'a Source<'a>, spec: &ReaderSpec, text: &str, usual: char) -> Result<Self> {
        Ok(Self {
            source,
            delimiter: delimiter(source, spec, text, usual)?,
            quotes: !spec.no_quotes,
            quoted_lines: spec.quoted_lines.unwrap_or(QUOTED_LINES).max(1),
        })
    }
}

impl Dialect<'_> {
    /// Refuses quotes that are not closed, or not where and when they should be, in a row that begins on `line`. Gives
    /// the fields that go over lines, as [`Rows::quoted`].
    fn check_quotes(&self, row: &str, mut line: usize) -> Result<Vec<(usize, usize, usize)>> {
        let mut rest = row;
        let mut longer = Vec::new();
        for column in 0.. {
            if let Some(quoted) = rest.strip_prefix('"') {
                let opened = line;
                let Some((inside, after)) = closed(quoted) else {
                    bail!(
                        "{}: a quote is opened and never closed; if quotes are ordinary characters in this file, set \
                         no_quotes = true in the manifest's [reader]",
                        self.source.line(opened)
                    )
                };
                let later = newlines(inside);
                line += later;
                rest = after;
                if !rest.is_empty() && rest != "\r" && !rest.starts_with(self.delimiter) {
                    bail!(
                        "{}: a quoted field (opened on line {opened}) goes on after its closing quote; double the \
                         quotes inside it, or set no_quotes = true in the manifest's [reader]",
                        self.source.line(line)
                    );
                }
                if later >= self.quoted_lines {
                    bail!(
                        "{}: a quote is opened here and closed {later} lines later, so that the rows between would be \
                         one field; if quotes are ordinary characters in this file, set no_quotes = true in the \
                         manifest's [reader]; if the field really is that long, quoted_lines = {}",
                        self.source.line(opened),
                        later + 1
                    );
                }
                if later > 0 {
                    longer.push((opened, later, column));
                }
            }
            let Some((_, after)) = rest.split_once(self.delimiter) else { break };
            rest = after;
        }
        Ok(longer)
    }
}

/// What is in front of the quote that ends a field, and what is behind it; doubled ones are part of the field.
fn closed(quoted: &str) -> Option<(&str, &str)> {
    let mut quotes = quoted.match_indices('"').map(|(at, _)| at).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            let (inside, after) = quoted.split_at_checked(at)?;
            return Some((inside, after.strip_prefix('"')?));
        }
    }
    None
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}
