//! Readers: files to records of named fields, each knowing where it stands.

pub(crate) mod border;
mod conll;
mod delimited;
mod dialect;
mod encoding;
mod json;
#[cfg(feature = "parquet")]
mod pages;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
mod source;
mod swallowed;

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_task::Cell;

pub use record::{At, Field, Place, Record};
use source::Source;

use crate::manifest::ReaderSpec;

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct Reader {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// File endings it reads without being asked.
    pub endings: &'static [&'static str],
    read: fn(&Source, &ReaderSpec) -> Result<Vec<Record>>,
}

/// Every reader, sorted by name.
pub const READERS: &[Reader] = &[
    conll::READER,
    delimited::CSV,
    json::JSON,
    json::JSONL,
    #[cfg(feature = "parquet")]
    parquet::READER,
    delimited::TSV,
];

/// The records of `path` as `spec` says; its ending decides where the manifest names no reader.
///
/// # Errors
/// If the file cannot be read, is malformed, or holds no record: with file, line, what was found and what would be
/// right.
pub fn read(path: &Path, spec: &ReaderSpec) -> Result<Vec<Record>> {
    read_noted(path, spec).map(|(records, _)| records)
}

/// As [`read`], with what a person ought to know of the file though it is no error: a delimiter that was recognised,
/// lines that were passed over.
///
/// # Errors
/// As [`read`].
pub fn read_noted(path: &Path, spec: &ReaderSpec) -> Result<(Vec<Record>, Vec<String>)> {
    let reader = match &spec.name {
        Some(name) => mtl_task::member("reader", name, READERS, |reader| reader.name)?,
        None => {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
            READERS.iter().find(|reader| reader.endings.contains(&ending.as_str())).with_context(|| {
                let names: Vec<&str> = READERS.iter().map(|reader| reader.name).collect();
                format!(
                    "{}: no reader for files that end in `.{ending}`; set name in the manifest's [reader] to one of {}",
                    path.display(),
                    names.join(", ")
                )
            })?
        }
    };
    let source = Source::new(path);
    let records = border::contained(|| (reader.read)(&source, spec)).with_context(|| source.name.to_string())??;
    if records.is_empty() {
        bail!("{}: it has no record, at most a header; a table with at least one example was expected", source.name);
    }
    Ok((records, source.notes()))
}

/// The text of a cell; nothing for a list.
pub(crate) fn text(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text.trim(),
        Cell::Many(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_sorted_and_claim_no_ending_twice() {
        assert!(READERS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let mut endings: Vec<&str> = READERS.iter().flat_map(|reader| reader.endings).copied().collect();
        let count = endings.len();
        endings.sort_unstable();
        endings.dedup();
        assert_eq!(endings.len(), count);
    }
}
