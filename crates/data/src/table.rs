//! A dataset's files as one table of rows, and its splits before those of other tables are looked at.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_task::{Cell, Kind, Label, Registry};
use rayon::prelude::*;

use crate::dataset::TaskSource;
use crate::manifest::{DatasetManifest, Source};
use crate::reader::{self, Field, Reader, Record};
use crate::registries::DataRegistries;
use crate::rows::{row, texts_of};
use crate::split::{Entry, Parted, Rows};
use crate::{RawExample, generator};

/// The table of `manifest`, whose task is of `kind`, with the splits drawn that it does not give.
pub(crate) fn parted(
    registries: &DataRegistries,
    manifest: &DatasetManifest,
    kind: &Kind,
    folder: &Path,
) -> Result<Parted> {
    let splits = &manifest.splits;
    let (mut rows, mut notes) = (Rows::<Entry>::default(), Vec::new());
    let (mut size, mut drawn_as, mut ceiling) = (None, None, None);
    if let Some(generator) = &manifest.generator {
        let written = generator::rows(&registries.generators, generator)?;
        let plain = |rows: Vec<RawExample>| rows.into_iter().map(|example| plain(example, kind)).collect();
        rows = Rows { train: plain(written.train), dev: plain(written.dev), test: plain(written.test) };
        (size, drawn_as, ceiling, notes) = (written.size, written.drawn_as, written.ceiling, written.notes);
    } else {
        if splits.train.is_empty() && splits.all.is_empty() {
            bail!("[splits] names no file to train on: `train`, or `all`");
        }
        let mut read = |files: &[String]| read(&registries.readers, files, manifest, folder, &mut notes);
        let (train, dev, test, all) =
            (read(&splits.train)?, read(&splits.dev)?, read(&splits.test)?, read(&splits.all)?);
        has_column(manifest, kind, train.iter().chain(&dev).chain(&test).chain(&all))?;
        let together = Together::of(manifest, &registries.kinds)?;
        let mut unlabelled = [0, 0];
        let mut parsed = |records: Vec<Record>| -> Result<Vec<Entry>> {
            let rows: Vec<Result<_>> =
                records.par_iter().map(|record| entry(record, manifest, kind, together)).collect();
            // The first mistake is told of, whoever finds one first.
            let rows = rows.into_iter().collect::<Result<Vec<_>>>()?;
            let kept: Vec<Entry> = rows.into_iter().flatten().collect();
            unlabelled = [unlabelled[0] + records.len() - kept.len(), unlabelled[1] + records.len()];
            Ok(kept)
        };
        (rows.train, rows.dev, rows.test) = (parsed(train)?, parsed(dev)?, parsed(test)?);
        match &splits.column {
            None => rows.train.extend(parsed(all)?),
            Some(column) => {
                let mut parts: [Vec<Record>; 3] = Default::default();
                for record in all {
                    match reader::text(record.field(column)?) {
                        "train" => parts[0].push(record),
                        "dev" | "validation" => parts[1].push(record),
                        "test" => parts[2].push(record),
                        other => bail!(
                            "{}: column `{column}`: train, dev or test was expected, found `{other}`",
                            record.place
                        ),
                    }
                }
                for (rows, part) in [&mut rows.train, &mut rows.dev, &mut rows.test].into_iter().zip(parts) {
                    rows.extend(parsed(part)?);
                }
            }
        }
        if unlabelled[0] > 0 {
            notes.push(format!(
                "{} of {} rows have no label, as ignore in [columns] says, and are left out",
                unlabelled[0], unlabelled[1]
            ));
        }
    }
    Parted::drawn(rows, splits).map(|parted| Parted { notes, size, drawn_as, ceiling, ..parted })
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
    manifest.columns.ignore.clear();
    manifest.columns.indicators.clear();
    Ok(format!("{}\0{}", source.folder.display(), toml::to_string(&manifest)?))
}

fn read(
    readers: &Registry<Reader>,
    files: &[String],
    manifest: &DatasetManifest,
    folder: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Record>> {
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
        let (found, said) = reader::read_noted(readers, &path, &manifest.reader)?;
        records.extend(found);
        notes.extend(said);
    }
    Ok(records)
}

/// A row of a table with one label.
fn plain(example: RawExample, kind: &Kind) -> Entry {
    let stratum = match &example.label {
        Cell::Text(class) if matches!(kind.truth, Label::Class(_)) => class.clone(),
        _ => String::new(),
    };
    Entry { key: example.texts.normalised(), stratum, example, labelled: true }
}

/// What several label columns of one table have in common.
#[derive(Clone, Copy)]
struct Together<'a> {
    /// Whether all of them tag words.
    tags_words: bool,
    /// The column of the first one that is of classes.
    classes: Option<&'a str>,
}

impl<'a> Together<'a> {
    /// What the label columns of `manifest` have in common; nothing if it is of one task.
    fn of(manifest: &'a DatasetManifest, kinds: &Registry<Kind>) -> Result<Option<Self>> {
        let labels = &manifest.columns.labels;
        if labels.is_empty() {
            return Ok(None);
        }
        let mut together = Self { tags_words: true, classes: None };
        for label in labels {
            let kind = label.kind(kinds)?;
            together.tags_words &= kind.tags_words();
            if matches!(kind.truth, Label::Class(_)) {
                together.classes = together.classes.or(Some(label.column()));
            }
        }
        Ok(Some(together))
    }
}

/// The row of `record`. Where a table has several label columns, what tells rows apart and what the draw keeps the
/// shares of is the same for each of them: the text (words if all of them tag), and the class of the first column of
/// classes; a row without the task's own label stays, for the others. Elsewhere it is none.
fn entry(
    record: &Record,
    manifest: &DatasetManifest,
    kind: &Kind,
    together: Option<Together>,
) -> Result<Option<Entry>> {
    let Some(together) = together else {
        return Ok(row(record, manifest, kind)?.map(|row| plain(row, kind)));
    };
    let told = texts_of(record, &manifest.columns, together.tags_words)?;
    let stratum = match together.classes.and_then(|column| present(record, column)) {
        Some(Field::Cell(cell)) => reader::text(cell).to_string(),
        _ => String::new(),
    };
    let indicated = !manifest.columns.indicators.is_empty();
    let example = match indicated || present(record, manifest.columns.label(kind.tags_words())).is_some() {
        true => row(record, manifest, kind)?,
        false => None,
    };
    let (key, labelled) = (told.normalised(), example.is_some());
    let unlabelled = || RawExample { texts: told, label: Cell::Text(String::new()), place: record.place.clone() };
    Ok(Some(Entry { key, stratum, example: example.unwrap_or_else(unlabelled), labelled }))
}

/// The field called `column`, unless the record has none, or an empty one.
fn present<'a>(record: &'a Record, column: &str) -> Option<&'a Field> {
    match record.fields.get(record.columns.iter().position(|known| known == column)?)? {
        Field::Cell(Cell::Text(text)) if text.trim().is_empty() => None,
        Field::Other("null") => None,
        other => Some(other),
    }
}

/// Refuses a label column that no record fills: an empty cell says that a row has no such label, not all of them.
fn has_column<'a>(
    manifest: &DatasetManifest,
    kind: &Kind,
    mut records: impl Iterator<Item = &'a Record> + Clone,
) -> Result<()> {
    let column = manifest.columns.label(kind.tags_words());
    let single = manifest.columns.labels.is_empty() || !manifest.columns.indicators.is_empty();
    if single || records.clone().any(|record| present(record, column).is_some()) {
        return Ok(());
    }
    let first = records.next().context("no record")?;
    first.field(column)?;
    bail!("{}: column `{column}` is empty in every row", first.place)
}
