//! A dataset's files as one table of rows, and its splits before those of other tables are looked at.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_task::Cell;
use rayon::prelude::*;

use crate::dataset::TaskSource;
use crate::manifest::{DatasetManifest, Source};
use crate::reader::{self, Field, Record};
use crate::rows::{row, texts_of};
use crate::split::{Entry, Parted, Rows};
use crate::{RawExample, generator};

/// The table of `manifest`, with the splits drawn that it does not give.
pub(crate) fn parted(manifest: &DatasetManifest, folder: &Path) -> Result<Parted> {
    manifest.check_task()?;
    let splits = &manifest.splits;
    let mut rows = Rows::<Entry>::default();
    if let Some(generator) = &manifest.generator {
        let plain = |example| plain(example, manifest);
        rows.train = generator::rows(generator)?.into_iter().map(plain).collect();
    } else {
        if splits.train.is_empty() && splits.all.is_empty() {
            bail!("[splits] names no file to train on: `train`, or `all`");
        }
        let read = |files: &[String]| read(files, manifest, folder);
        let (train, dev, test, all) =
            (read(&splits.train)?, read(&splits.dev)?, read(&splits.test)?, read(&splits.all)?);
        has_column(manifest, train.iter().chain(&dev).chain(&test).chain(&all))?;
        let parsed = |records: Vec<Record>| {
            records.par_iter().map(|record| entry(record, manifest)).collect::<Result<Vec<Entry>>>()
        };
        (rows.train, rows.dev, rows.test) = (parsed(train)?, parsed(dev)?, parsed(test)?);
        for record in all {
            let row = entry(&record, manifest)?;
            match &splits.column {
                None => rows.train.push(row),
                Some(column) => match reader::text(record.field(column)?) {
                    "train" => rows.train.push(row),
                    "dev" | "validation" => rows.dev.push(row),
                    "test" => rows.test.push(row),
                    other => {
                        bail!("{}: column `{column}`: train, dev or test was expected, found `{other}`", record.place)
                    }
                },
            }
        }
    }
    Parted::drawn(rows, splits)
}

/// By which tasks over one table are told from tasks over others: the manifest without what is one task's alone.
pub(crate) fn identity(source: &TaskSource) -> Result<String> {
    let mut manifest = source.manifest.clone();
    if manifest.columns.labels.is_empty() {
        return Ok(format!("{}\0", source.name));
    }
    manifest.task = Default::default();
    manifest.columns.label = None;
    manifest.columns.label_separator = None;
    manifest.columns.label_names.clear();
    Ok(format!("{}\0{}", source.folder.display(), toml::to_string(&manifest)?))
}

fn read(files: &[String], manifest: &DatasetManifest, folder: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for file in files {
        let path = folder.join(file);
        if !path.exists() {
            let hint = match manifest.sources.first() {
                Some(Source::Path { .. }) => {
                    "check `folder` of the manifest's [[source]], which is relative to the manifest"
                }
                Some(_) => "fetch the dataset first",
                None => "put it there, or name a [[source]] in the manifest",
            };
            bail!("{}: no such file; {hint}", path.display());
        }
        records.extend(reader::read(&path, &manifest.reader)?);
    }
    Ok(records)
}

/// A row of a table with one label.
fn plain(example: RawExample, manifest: &DatasetManifest) -> Entry {
    let stratum = match &example.label {
        Cell::Text(class) if manifest.task.kind == "classification" => class.clone(),
        _ => String::new(),
    };
    Entry { key: example.texts.normalised(), stratum, example, labelled: true }
}

/// The row of `record`. Where a table has several label columns, what tells rows apart and what the draw keeps the
/// shares of is the same for each of them: the text (words if all of them tag), and the class of the first
/// classification.
fn entry(record: &Record, manifest: &DatasetManifest) -> Result<Entry> {
    let labels = &manifest.columns.labels;
    if labels.is_empty() {
        return Ok(plain(row(record, manifest)?, manifest));
    }
    let all_tag = labels.iter().all(|label| label.task.kind == "tagging");
    let told = texts_of(record, &manifest.columns, all_tag)?;
    let classes = labels.iter().find(|label| label.task.kind == "classification");
    let stratum = match classes.and_then(|label| present(record, label.column())) {
        Some(Field::Cell(cell)) => reader::text(cell).to_string(),
        _ => String::new(),
    };
    let labelled = present(record, manifest.columns.label(&manifest.task)).is_some();
    let example = match labelled {
        true => row(record, manifest)?,
        false => RawExample { texts: told.clone(), label: Cell::Text(String::new()), place: record.place.clone() },
    };
    Ok(Entry { key: told.normalised(), stratum, example, labelled })
}

/// The field called `column`, unless the record has none, or an empty one.
fn present<'a>(record: &'a Record, column: &str) -> Option<&'a Field> {
    let field = &record.fields[record.columns.iter().position(|known| known == column)?];
    match field {
        Field::Cell(Cell::Text(text)) if text.trim().is_empty() => None,
        Field::Other("null") => None,
        other => Some(other),
    }
}

/// Refuses a label column that no record fills: an empty cell says that a row has no such label, not all of them.
fn has_column<'a>(manifest: &DatasetManifest, mut records: impl Iterator<Item = &'a Record> + Clone) -> Result<()> {
    let column = manifest.columns.label(&manifest.task);
    if manifest.columns.labels.is_empty() || records.clone().any(|record| present(record, column).is_some()) {
        return Ok(());
    }
    let first = records.next().context("no record")?;
    first.field(column)?;
    bail!("{}: column `{column}` is empty in every row", first.place)
}
