//! Comma- and tab-separated values (RFC 4180), with or without a header line.
//!
//! A field in double quotes may hold delimiters, line breaks and doubled quotes. Blank lines are passed over.

use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_task::Cell;

use super::record::{Field, Record};
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

fn read(source: &Source, spec: &ReaderSpec, delimiter: char) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let mut rest = Lines { source, rest: &text, line: 1, delimiter, quotes: !spec.no_quotes };
    let columns = match spec.header.is_empty() {
        true => rest.next_row()?.map(|(_, row)| row.iter().map(|name| name.trim().to_string()).collect()),
        false => Some(spec.header.clone()),
    };
    let columns = Arc::new(columns.unwrap_or_default());
    for (index, name) in columns.iter().enumerate() {
        if columns[..index].contains(name) {
            bail!("{}: two columns are called `{name}`; name them anew in [reader] header", source.line(1));
        }
    }
    rest.skip(spec.skip);
    let mut records = Vec::new();
    while let Some((line, row)) = rest.next_row()? {
        if row.len() != columns.len() {
            bail!(
                "{}: {} fields, expected {} ({}); is a delimiter part of a text, or a text without its quotes?",
                source.line(line),
                row.len(),
                columns.len(),
                columns.join(", ")
            );
        }
        let fields = row.into_iter().map(|cell| Field::Cell(Cell::Text(cell))).collect();
        records.push(Record { columns: columns.clone(), fields, place: source.line(line) });
    }
    Ok(records)
}

/// What is left of a file.
struct Lines<'a> {
    source: &'a Source<'a>,
    rest: &'a str,
    line: usize,
    delimiter: char,
    quotes: bool,
}

impl Lines<'_> {
    fn skip(&mut self, lines: usize) {
        for _ in 0..lines {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            self.line += 1;
        }
    }

    /// The next row that is not blank, and the line where it begins.
    fn next_row(&mut self) -> Result<Option<(usize, Vec<String>)>> {
        while self.rest.starts_with('\n') || self.rest.starts_with("\r\n") {
            self.skip(1);
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (line, mut row) = (self.line, Vec::new());
        loop {
            row.push(if self.quotes && self.rest.starts_with('"') { self.quoted()? } else { self.plain() });
            if let Some(rest) = self.rest.strip_prefix(self.delimiter) {
                self.rest = rest;
                continue;
            }
            self.skip(1);
            return Ok(Some((line, row)));
        }
    }

    /// A field up to the next delimiter or the end of the line, which stay.
    fn plain(&mut self) -> String {
        let end = self.rest.find([self.delimiter, '\n']).unwrap_or(self.rest.len());
        let (field, rest) = self.rest.split_at(end);
        self.rest = rest;
        field.strip_suffix('\r').filter(|_| !rest.starts_with(self.delimiter)).unwrap_or(field).to_string()
    }

    /// A field in quotes.
    fn quoted(&mut self) -> Result<String> {
        let opened = self.line;
        let mut field = String::new();
        self.rest = &self.rest[1..];
        loop {
            let Some(end) = self.rest.find('"') else {
                bail!(
                    "{}: a quote is opened and never closed; if quotes are ordinary characters in this file, set \
                     no_quotes = true in the manifest's [reader]",
                    self.source.line(opened)
                )
            };
            field.push_str(&self.rest[..end]);
            self.line += self.rest[..end].matches('\n').count();
            self.rest = &self.rest[end + 1..];
            if let Some(rest) = self.rest.strip_prefix('"') {
                field.push('"');
                self.rest = rest;
                continue;
            }
            let ends = self.rest.is_empty() || self.rest.starts_with([self.delimiter, '\n']);
            if !ends && !self.rest.starts_with("\r\n") {
                bail!(
                    "{}: a quoted field (opened on line {opened}) goes on behind its closing quote; double the quotes \
                     inside it, or set no_quotes = true in the manifest's [reader]",
                    self.source.line(self.line)
                );
            }
            self.rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
            return Ok(field);
        }
    }
}
