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
use mtl_task::{Cell, Member, Registry};

pub(crate) use delimited::first_row;
pub use record::{At, Field, Place, Record};
pub use source::Source;

use crate::manifest::ReaderSpec;

/// A reader, by its name.
#[derive(Clone, Copy)]
pub struct Reader {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// File endings it reads without being asked.
    pub endings: &'static [&'static str],
    /// The records of a file, in its order. Refuses what is malformed with file, line, what was found and what would be
    /// right; a file without records is refused by who asked.
    pub read: fn(&Source, &ReaderSpec) -> Result<Vec<Record>>,
}

const BUILT_IN: &[Reader] = &[
    conll::READER,
    delimited::CSV,
    json::JSON,
    json::JSONL,
    #[cfg(feature = "parquet")]
    parquet::READER,
    delimited::TSV,
];

impl Member for Reader {
    const KIND: &'static str = "reader";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// The records of `path` as `spec` says, by one of `readers`; its ending decides where the manifest names none.
///
/// # Errors
/// If the file cannot be read, is malformed, or holds no record: with file, line, what was found and what would be
/// right.
pub fn read(readers: &Registry<Reader>, path: &Path, spec: &ReaderSpec) -> Result<Vec<Record>> {
    read_noted(readers, path, spec).map(|(records, _)| records)
}

/// As [`read`], with what a person ought to know of the file though it is no error: a delimiter that was recognised,
/// lines that were passed over.
///
/// # Errors
/// As [`read`].
pub fn read_noted(readers: &Registry<Reader>, path: &Path, spec: &ReaderSpec) -> Result<(Vec<Record>, Vec<String>)> {
    let reader = match &spec.name {
        Some(name) => readers.find(name)?,
        None => {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
            readers.iter().find(|reader| reader.endings.contains(&ending.as_str())).with_context(|| {
                format!(
                    "{}: no reader for files that end in `.{ending}`; set name in the manifest's [reader] to one of {}",
                    path.display(),
                    readers.names().join(", ")
                )
            })?
        }
    };
    read_source(reader, &Source::new(path), spec)
}

/// As [`read_noted`], by `reader`, of a source that need not be a file.
///
/// # Errors
/// As [`read`].
pub fn read_source(reader: &Reader, source: &Source, spec: &ReaderSpec) -> Result<(Vec<Record>, Vec<String>)> {
    let records = border::contained(|| (reader.read)(source, spec)).with_context(|| source.name.to_string())??;
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
    fn readers_claim_no_ending_twice() {
        let mut endings: Vec<&str> = BUILT_IN.iter().flat_map(|reader| reader.endings).copied().collect();
        let count = endings.len();
        endings.sort_unstable();
        endings.dedup();
        assert_eq!(endings.len(), count);
    }
}
