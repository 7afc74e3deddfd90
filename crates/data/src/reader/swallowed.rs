//! Rows that a stray quote took into its field: a quoted text of several lines whose every line is a row of the table.
//!
//! A text may go over lines, and each of them may happen to have as many delimiters as a row. That a line also ends or
//! begins with what other rows have in that column, such as a class, is no accident.

use std::collections::HashSet;

use anyhow::{Result, bail};
use mtl_task::Cell;

use super::Source;
use super::record::{Field, Record};

/// A quoted field of several lines.
pub(super) struct Suspect {
    /// The line where its quote is opened, and how many lines later it is closed.
    pub(super) line: usize,
    pub(super) later: usize,
    /// Its record, and its column there.
    pub(super) record: usize,
    pub(super) column: usize,
}

/// Refuses the first of `suspects` that holds rows of the table.
pub(super) fn refuse(source: &Source, suspects: &[Suspect], records: &[Record], delimiter: char) -> Result<()> {
    let rows: Vec<Option<Vec<(usize, &str)>>> =
        suspects.iter().map(|suspect| hidden(suspect, records, delimiter)).collect();
    let mut wanted: HashSet<(usize, &str)> =
        rows.iter().flatten().flatten().copied().filter(|(_, value)| !value.is_empty()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let of: HashSet<usize> = suspects.iter().map(|suspect| suspect.record).collect();
    let mut known: HashSet<(usize, &str)> = HashSet::new();
    for (_, record) in records.iter().enumerate().filter(|(index, _)| !of.contains(index)) {
        for (column, field) in record.fields.iter().enumerate() {
            if let Some(found) = text(field).map(|text| (column, text.trim())).filter(|found| wanted.contains(found)) {
                wanted.remove(&found);
                known.insert(found);
            }
        }
    }
    for (suspect, row) in suspects.iter().zip(&rows) {
        let Some(values) = row else { continue };
        // Every row but the first begins anew, and gives all of its columns.
        let Some(width) = records.get(suspect.record).map(|record| record.columns.len()) else { continue };
        let (first, others) = values.split_at(values.len() % width);
        if (first.is_empty() || holds(first, &known)) && others.chunks(width).all(|row| holds(row, &known)) {
            bail!(
                "{}: a quote is opened here and closed {} lines later, and the lines between are rows of their own; if \
                 quotes are ordinary characters in this file, set no_quotes = true in the manifest's [reader]; if the \
                 field really goes over these lines, quoted_lines = {}",
                source.line(suspect.line),
                suspect.later,
                suspect.later + 1
            );
        }
    }
    Ok(())
}

/// Whether a value of `row` is one that its column has elsewhere.
fn holds<'a>(row: &[(usize, &'a str)], known: &HashSet<(usize, &'a str)>) -> bool {
    row.iter().any(|value| known.contains(value))
}

/// The values of the rows that would be there without the quote: of the first row what comes after the column that the
/// quote is in, of the others every column, but without what stands beyond the closing quote. None if a line is no row.
fn hidden<'a>(suspect: &Suspect, records: &'a [Record], delimiter: char) -> Option<Vec<(usize, &'a str)>> {
    let record = records.get(suspect.record)?;
    let width = record.columns.len();
    let mut lines = text(record.fields.get(suspect.column)?)?.split('\n');
    let first: Vec<&str> = lines.next()?.split(delimiter).collect();
    if width < 2 || suspect.column + first.len() != width {
        return None;
    }
    let mut values: Vec<(usize, &str)> =
        first.into_iter().enumerate().skip(1).map(|(at, value)| (suspect.column + at, value.trim())).collect();
    let lines: Vec<&str> = lines.collect();
    for (index, line) in lines.iter().enumerate() {
        let mut fields: Vec<&str> = line.split(delimiter).map(str::trim).collect();
        if index + 1 == lines.len() {
            // What follows the closing quote ends the row.
            fields.extend(record.fields.iter().skip(suspect.column + 1).filter_map(text).map(str::trim));
        }
        if fields.len() != width {
            return None;
        }
        values.extend(fields.into_iter().enumerate());
    }
    (!values.is_empty()).then_some(values)
}

fn text(field: &Field) -> Option<&str> {
    match field {
        Field::Cell(Cell::Text(text)) => Some(text),
        _ => None,
    }
}
