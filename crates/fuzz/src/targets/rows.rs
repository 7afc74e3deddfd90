//! Files of records, and what stands in their cells.

use std::path::Path;

use anyhow::{Result, bail};
use mtl_data::guess::{self, Group};
use mtl_data::manifest::ReaderSpec;
use mtl_data::{mail as message, reader};
use mtl_task::Registry;

use crate::scratch;

pub(super) fn csv(bytes: &[u8]) -> Result<()> {
    read("csv", bytes)
}

pub(super) fn tsv(bytes: &[u8]) -> Result<()> {
    read("tsv", bytes)
}

pub(super) fn json(bytes: &[u8]) -> Result<()> {
    read("json", bytes)
}

pub(super) fn jsonl(bytes: &[u8]) -> Result<()> {
    read("jsonl", bytes)
}

pub(super) fn conll(bytes: &[u8]) -> Result<()> {
    read("conll", bytes)
}

pub(super) fn parquet(bytes: &[u8]) -> Result<()> {
    read("parquet", bytes)
}

pub(super) fn encoded(bytes: &[u8]) -> Result<()> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (encoding, table) = bytes.split_at(end);
    let encoding = String::from_utf8_lossy(encoding).trim().to_string();
    let path = scratch::file("encoded", "rows.csv", table.get(1..).unwrap_or_default())?;
    let spec = ReaderSpec { encoding: Some(encoding), ..ReaderSpec::default() };
    // What is wrong may be the encoding's name, which is no matter of the file.
    reader::read(&Registry::default(), &path, &spec).map(drop)
}

/// Reads `bytes` as a file of the format `name`. A refusal names the file.
fn read(name: &str, bytes: &[u8]) -> Result<()> {
    let path = scratch::file(name, "rows", bytes)?;
    let spec = ReaderSpec { name: Some(name.into()), ..ReaderSpec::default() };
    let records = named(&path, reader::read(&Registry::default(), &path, &spec))?;
    if let Some(record) = records.last() {
        for column in record.columns.iter().take(3) {
            // A field may be neither text nor list.
            let _ = record.field(column);
        }
    }
    Ok(())
}

/// `found`, whose refusal has to name the file.
pub(super) fn named<T>(path: &Path, found: Result<T>) -> Result<T> {
    if let Err(error) = &found {
        let (message, file) = (format!("{error:#}"), path.file_name().unwrap_or_default().to_string_lossy());
        assert!(message.contains(&*file), "no file in: {message}");
    }
    found
}

pub(super) fn guess(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("guess", "rows.csv", bytes)?;
    let group = Group { name: "rows".into(), files: vec![(path, None)] };
    let found = guess::guess(&Registry::default(), &group, &ReaderSpec::default())?;
    assert!(found.rows > 0, "a guess about no row");
    Ok(())
}

pub(super) fn mail(bytes: &[u8]) -> Result<()> {
    match message::readable(&String::from_utf8_lossy(bytes)) {
        text if text.is_empty() => bail!("there is nothing to read"),
        _ => Ok(()),
    }
}
