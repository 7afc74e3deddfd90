//! How a file is to be read where its ending does not say it: column names that are missing, word columns in `.txt`.

use std::path::Path;

use anyhow::Result;
use mtl_task::{Cell, Registry};

use crate::manifest::ReaderSpec;
use crate::reader::{self, Field, Reader, Record};

/// What of `readers` reads `path`, with what `spec` says already.
pub(super) fn reader(
    readers: &Registry<Reader>,
    path: &Path,
    spec: &ReaderSpec,
    notes: &mut Vec<String>,
) -> Result<ReaderSpec> {
    let mut reader = spec.clone();
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
    if reader.name.is_none() && matches!(ending.as_str(), "txt" | "") {
        reader.name = Some("conll".into());
        notes.push(format!("`{}` is read as words in columns, a blank line between sentences", path.display()));
    }
    let delimited = matches!(reader.name.as_deref(), Some("csv" | "tsv"))
        || (reader.name.is_none() && matches!(ending.as_str(), "csv" | "tsv" | "tab"));
    if !delimited || !reader.header.is_empty() {
        return Ok(reader);
    }
    // Under names of our own the first line is a row like the others, and can be compared with them.
    let Some(width) = width(readers, path, &reader)? else { return Ok(reader) };
    let numbered =
        ReaderSpec { header: (1..=width).map(|column| format!("column {column}")).collect(), ..reader.clone() };
    let Ok(records) = reader::read(readers, path, &numbered) else { return Ok(reader) };
    if !is_header(&records) {
        reader.header = names(&records);
        notes.push(format!(
            "the first line of `{}` looks like a row, so the columns are called {}",
            path.display(),
            reader.header.join(", ")
        ));
    }
    Ok(reader)
}

/// How many fields the first line has; nothing if that cannot be told.
fn width(readers: &Registry<Reader>, path: &Path, spec: &ReaderSpec) -> Result<Option<usize>> {
    match reader::read(readers, path, spec) {
        Ok(records) => Ok(records.first().map(|record| record.columns.len())),
        Err(error) => {
            // Two equal cells in the first line, which is no header then: the number of fields is in the message of a
            // reader that was given one name.
            let one = ReaderSpec { header: vec!["column 1".into()], ..spec.clone() };
            let Err(counted) = reader::read(readers, path, &one) else { return Ok(None) };
            let text = format!("{counted:#}");
            let fields =
                text.split(" fields, expected").next().and_then(|before| before.rsplit(' ').next()?.parse().ok());
            match fields {
                Some(fields) if format!("{error:#}").contains("two columns are called") => Ok(Some(fields)),
                _ => Err(error),
            }
        }
    }
}

fn texts(record: &Record) -> impl Iterator<Item = &str> {
    record.fields.iter().map(|field| match field {
        Field::Cell(Cell::Text(text)) => text.trim(),
        _ => "",
    })
}

/// Whether the first of `records` names the columns: its cells are short words that no other row has there.
fn is_header(records: &[Record]) -> bool {
    let Some((first, rest)) = records.split_first() else { return true };
    texts(first).enumerate().all(|(at, cell)| {
        let short = cell.split_whitespace().count() <= 4 && cell.chars().count() <= 40;
        let number = cell.parse::<f64>().is_ok();
        let again = !cell.is_empty() && rest.iter().any(|row| texts(row).nth(at) == Some(cell));
        short && !number && !again
    })
}

/// Names by what the columns look like: the wordiest are texts, the last of the others is the label.
fn names(records: &[Record]) -> Vec<String> {
    let profiles: Vec<super::profile::Profile> =
        (0..records[0].columns.len()).map(|at| super::profile::Profile::of(at, records)).collect();
    let texts: Vec<usize> = (0..profiles.len()).filter(|&at| profiles[at].is_text()).collect();
    let label = (0..profiles.len()).rev().find(|at| !texts.contains(at) && !profiles[*at].is_name());
    let called = |at: usize| match (texts.iter().position(|&text| text == at), texts.len()) {
        (Some(_), 1) => "text".to_string(),
        (Some(0), _) => "text_a".to_string(),
        (Some(1), _) => "text_b".to_string(),
        _ if Some(at) == label => "label".to_string(),
        _ => format!("column_{}", at + 1),
    };
    (0..profiles.len()).map(called).collect()
}
