//! Blocks of `column: text` lines with blank lines between them.

use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_data::manifest::ReaderSpec;
use mtl_data::reader::{Field, Reader, Record, Source};
use mtl_task::Cell;

/// The member of the registry.
pub(crate) const READER: Reader =
    Reader { name: "blocks", about: "blocks of `column: text` lines", endings: &["blocks"], read };

fn read(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let (mut records, mut columns, mut fields) = (Vec::new(), Vec::new(), Vec::new());
    // The blank line at the end closes the last block.
    for (index, line) in text.lines().chain([""]).enumerate() {
        let place = source.line(index + 1);
        match line.split_once(": ") {
            Some((column, text)) => {
                columns.push(column.to_string());
                fields.push(Field::Cell(Cell::Text(text.to_string())));
            }
            None if line.is_empty() && columns.is_empty() => {}
            None if line.is_empty() => records.push(Record {
                columns: Arc::new(std::mem::take(&mut columns)),
                fields: std::mem::take(&mut fields),
                place,
            }),
            None => bail!("{place}: `column: text` or a blank line was expected, found `{line}`"),
        }
    }
    Ok(records)
}
