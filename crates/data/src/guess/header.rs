//! How a file is to be read where its ending does not say it: column names that are missing, word columns in `.txt`.

use std::path::Path;

use anyhow::{Context, Result};
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
    let tabs = reader.name.as_deref() == Some("tsv") || matches!(ending.as_str(), "tsv" | "tab");
    let width = reader::first_row(path, &reader, if tabs { '\t' } else { ',' })?.len();
    super::columns::few(width).with_context(|| path.display().to_string())?;
    let numbered =
        ReaderSpec { header: (1..=width).map(|column| format!("column {column}")).collect(), ..reader.clone() };
    // What is wrong with the rows is told by whoever reads them.
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

fn texts(record: &Record) -> impl Iterator<Item = &str> {
    record.fields.iter().map(text)
}

fn text(field: &Field) -> &str {
    match field {
        Field::Cell(Cell::Text(text)) => text.trim(),
        _ => "",
    }
}

/// Whether the first of `records` names the columns: its cells are short words that no other row has there.
fn is_header(records: &[Record]) -> bool {
    let Some((first, rest)) = records.split_first() else { return true };
    texts(first).enumerate().all(|(at, cell)| {
        let short = cell.split_whitespace().count() <= 4 && cell.chars().count() <= 40;
        let number = cell.parse::<f64>().is_ok();
        let again = !cell.is_empty() && rest.iter().any(|row| row.fields.get(at).map(text) == Some(cell));
        short && !number && !again
    })
}

/// Names by what the columns look like: the wordiest are texts, the last of the others is the label.
fn names(records: &[Record]) -> Vec<String> {
    let profiles: Vec<super::profile::Profile> = super::profile::Profile::all(records);
    let of = |wanted: fn(&super::profile::Profile) -> bool| {
        profiles.iter().enumerate().filter(move |(_, profile)| wanted(profile)).map(|(at, _)| at)
    };
    let texts: Vec<usize> = of(|profile| profile.is_text()).collect();
    let label = of(|profile| !profile.is_text() && !profile.is_name()).next_back();
    let called = |at: usize| match (texts.binary_search(&at).ok(), texts.len()) {
        (Some(_), 1) => "text".to_string(),
        (Some(0), _) => "text_a".to_string(),
        (Some(1), _) => "text_b".to_string(),
        _ if Some(at) == label => "label".to_string(),
        _ => format!("column_{}", at + 1),
    };
    (0..profiles.len()).map(called).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &str, text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        reader(&Registry::default(), &path, &ReaderSpec::default(), &mut Vec::new()).expect("read").header
    }

    #[test]
    fn a_first_line_that_is_a_row_gives_no_names() {
        let rows: String = (0..12).map(|row| format!("the cat sat {row}\tthe cat sat {row}\tsame\n")).collect();
        assert_eq!(headers("pairs.tsv", &rows), ["text_a", "text_b", "label"], "two cells of a line may be alike");
        assert_eq!(headers("pairs.tsv", &format!("first\tsecond\tsays\n{rows}")), [""; 0]);
        let rows: String = (0..12).map(|row| format!("{row},a sentence number {row},yes\n")).collect();
        assert_eq!(headers("rows.csv", &rows), ["column_1", "text", "label"]);
    }
}
