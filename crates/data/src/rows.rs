//! Records to rows: the columns that the manifest names become texts and a truth.

use anyhow::{Result, bail};
use mtl_task::{Cell, Kind};

use crate::manifest::{Columns, DatasetManifest};
use crate::reader::Record;
use crate::{RawExample, Texts, mail};

/// The row of `record` for a task of `kind`.
///
/// # Errors
/// If a column is missing or does not hold what the task reads.
pub(crate) fn row(record: &Record, manifest: &DatasetManifest, kind: &Kind) -> Result<RawExample> {
    let tagging = kind.tags_words();
    let texts = if tagging { words(record, &manifest.columns)? } else { texts(record, &manifest.columns)? };
    let label = label(record, tagging, &manifest.columns)?;
    if let (Texts::Tokens(words), Cell::Many(tags)) = (&texts, &label)
        && words.len() != tags.len()
    {
        bail!(
            "{}: column `{}`: {} tags for {} words; every word needs one tag",
            record.place,
            manifest.columns.label(tagging),
            tags.len(),
            words.len()
        );
    }
    Ok(RawExample { texts, label, place: record.place.clone() })
}

fn texts(record: &Record, columns: &Columns) -> Result<Texts> {
    let form: fn(&str) -> String = match columns.text_form.as_deref() {
        None => str::to_owned,
        Some("mail") => mail::readable,
        Some(other) => bail!("[columns] text_form: unknown `{other}`; there is mail"),
    };
    let text = |column: &str| match record.field(column)? {
        Cell::Text(text) => Ok(form(text)),
        Cell::Many(list) => bail!(
            "{}: column `{column}`: a text was expected, found a list of {}; a tagging task names it as `tokens`",
            record.place,
            list.len()
        ),
    };
    match (&columns.text, &columns.text_a, &columns.text_b) {
        (None, Some(a), Some(b)) => Ok(Texts::Pair(text(a)?, text(b)?)),
        (text_column, None, None) => Ok(Texts::One(text(text_column.as_deref().unwrap_or("text"))?)),
        _ => bail!("[columns] names either `text`, or both `text_a` and `text_b`"),
    }
}

/// A list of words, or words between spaces.
fn words(record: &Record, columns: &Columns) -> Result<Texts> {
    Ok(Texts::Tokens(list(record.field(columns.tokens.as_deref().unwrap_or("tokens"))?)))
}

fn list(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::Text(text) => text.split_whitespace().map(String::from).collect(),
        Cell::Many(list) => list.clone(),
    }
}

fn label(record: &Record, tagging: bool, columns: &Columns) -> Result<Cell> {
    let cell = record.field(columns.label(tagging))?;
    let renamed = |name: &str| columns.label_names.get(name.trim()).cloned().unwrap_or_else(|| name.trim().to_string());
    let parts: Vec<String> = match (cell, &columns.label_separator) {
        (Cell::Text(text), Some(separator)) => {
            text.split(separator.as_str()).map(renamed).filter(|name| !name.is_empty()).collect()
        }
        (Cell::Text(text), None) if !tagging => return Ok(Cell::Text(renamed(text))),
        (cell, _) => list(cell).iter().map(|name| renamed(name)).collect(),
    };
    Ok(Cell::Many(parts))
}
