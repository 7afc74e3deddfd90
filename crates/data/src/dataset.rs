//! One dataset, from its manifest to tokenised splits.

mod check;

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Kind, Label, Registry, Task, TaskSpec};
use rayon::prelude::*;

use crate::manifest::{DatasetManifest, Source, Splits};
use crate::reader::{self, Reader, Record};
use crate::registries::DataRegistries;
use crate::rows::row;
use crate::split::{Rows, draw, limited};
use crate::{RawExample, Sealed, Texts, Tokenizer, generator};

/// One example: a tokenised text and its truth.
#[derive(Clone, Debug)]
pub struct Example {
    /// The text, special tokens included.
    pub encoded: Encoded,
    /// The truth.
    pub label: Label,
    /// Its text's index in [`Split::texts`].
    pub row: usize,
}

/// The examples of a split and their texts.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// What training and evaluation see.
    pub examples: Vec<Example>,
    /// What people see.
    pub texts: Vec<Texts>,
}

/// A dataset, ready to train on.
pub struct Dataset {
    /// The task's name.
    pub name: String,
    /// The task's table, with every label filled in.
    pub spec: TaskSpec,
    /// The task itself.
    pub task: Box<dyn Task>,
    /// What to train on.
    pub train: Split,
    /// What to choose by.
    pub dev: Split,
    /// What to report on, once.
    pub test: Sealed<Split>,
    /// What somebody who trusts the scores ought to know: duplicates, odd labels, empty texts.
    pub notes: Vec<String>,
}

/// How much of a dataset is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Longest input in tokens, special ones included.
    pub max_tokens: usize,
    /// Training examples, drawn by seed; 0 for all.
    pub limit_train: usize,
    /// Dev examples, drawn by seed; 0 for all.
    pub limit_dev: usize,
    /// Test examples, drawn by seed; 0 for all.
    pub limit_test: usize,
    /// Seed of the draws. Splits do not depend on it: they follow the manifest's own.
    pub seed: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { max_tokens: 128, limit_train: 0, limit_dev: 0, limit_test: 0, seed: 0 }
    }
}

/// Loads the dataset that `manifest` describes by the members of `registries`, its files lying in `folder`.
///
/// # Errors
/// If a file is missing or malformed, a column is missing, a label unknown or a split empty: with file, line, what was
/// found and what would be right.
pub fn load(
    registries: &DataRegistries,
    name: &str,
    manifest: &DatasetManifest,
    folder: &Path,
    tokenizer: &Tokenizer,
    options: &LoadOptions,
) -> Result<Dataset> {
    let kind = registries.kinds.find(&manifest.task.kind).context("[task] kind")?;
    let rows = rows(registries, manifest, folder, kind)?;
    let mut notes = check::duplicates(&rows);
    let spec = check::spec(kind, &manifest.task, &rows, &mut notes)?;
    let task = mtl_task::build(&registries.kinds, &spec)?;
    let column = manifest.columns.label(kind.tags_words());
    let key = Key::new(options.seed).named("limit").named(name);
    let mut split = |rows: Vec<RawExample>, which: &str, limit: usize| -> Result<Split> {
        let rows = check::readable(rows, which, &mut notes);
        if rows.is_empty() {
            bail!("the {which} split is empty");
        }
        let rows = limited(rows, limit, key.named(which));
        tokenised(rows, which, (task.as_ref(), column), tokenizer, options.max_tokens)
    };
    let train = split(rows.train, "train", options.limit_train)?;
    let dev = split(rows.dev, "dev", options.limit_dev)?;
    let test = Sealed::new(split(rows.test, "test", options.limit_test)?);
    notes.extend(check::labels(task.as_ref(), &train));
    Ok(Dataset { name: name.to_string(), spec, task, train, dev, test, notes })
}

/// What a fetched dataset holds, in words: the sizes of its splits, and how many rows repeat a text.
///
/// # Errors
/// As [`load`].
pub fn survey(registries: &DataRegistries, manifest: &DatasetManifest, folder: &Path) -> Result<Vec<String>> {
    let kind = registries.kinds.find(&manifest.task.kind).context("[task] kind")?;
    let rows = rows(registries, manifest, folder, kind)?;
    let sizes = format!("{} rows to train on, {} dev, {} test", rows.train.len(), rows.dev.len(), rows.test.len());
    let repeats = check::duplicates(&rows);
    let none = repeats.is_empty().then(|| "no text is listed twice".to_string());
    Ok(std::iter::once(sizes).chain(repeats).chain(none).collect())
}

/// The rows of every split of a task of `kind`.
fn rows(registries: &DataRegistries, manifest: &DatasetManifest, folder: &Path, kind: &Kind) -> Result<Rows> {
    let splits = &manifest.splits;
    let mut rows = Rows::default();
    if let Some(generator) = &manifest.generator {
        rows.train = generator::rows(&registries.generators, generator)?;
    } else {
        if splits.train.is_empty() && splits.all.is_empty() {
            bail!("[splits] names no file to train on: `train`, or `all`");
        }
        let read = |files: &[String]| read(&registries.readers, files, manifest, folder);
        let parsed = |records: Vec<Record>| {
            records.par_iter().map(|record| row(record, manifest, kind)).collect::<Result<Vec<RawExample>>>()
        };
        rows.train = parsed(read(&splits.train)?)?;
        rows.dev = parsed(read(&splits.dev)?)?;
        rows.test = parsed(read(&splits.test)?)?;
        for record in read(&splits.all)? {
            let row = row(&record, manifest, kind)?;
            match &splits.column {
                None => rows.train.push(row),
                Some(column) => match reader::text(record.field(column)?) {
                    "train" => rows.train.push(row),
                    "dev" | "validation" => rows.dev.push(row),
                    "test" => rows.test.push(row),
                    other => {
                        bail!("{}: column `{column}`: train, dev or test was expected, found `{other}`", row.place)
                    }
                },
            }
        }
    }
    fill(&mut rows, splits, matches!(kind.truth, Label::Class(_)))?;
    Ok(rows)
}

/// Draws the splits that have no file.
fn fill(rows: &mut Rows, splits: &Splits, stratified: bool) -> Result<()> {
    let (dev, test) = (splits.dev_share.unwrap_or(0.1), splits.test_share.unwrap_or(0.2));
    for (name, share) in [("dev_share", dev), ("test_share", test)] {
        if !(share > 0.0 && share < 0.5) {
            bail!("[splits] {name} must lie between 0 and 0.5, found {share}");
        }
    }
    let key = Key::new(splits.seed).named("split");
    let whole = rows.train.len() as f64;
    if rows.test.is_empty() {
        (rows.train, rows.test) = draw(std::mem::take(&mut rows.train), test, stratified, key.named("test"));
    }
    if rows.dev.is_empty() {
        // A share is one of all rows, whether or not the test has been taken out.
        let share = dev * whole / rows.train.len().max(1) as f64;
        (rows.train, rows.dev) = draw(std::mem::take(&mut rows.train), share, stratified, key.named("dev"));
    }
    Ok(())
}

fn read(
    readers: &Registry<Reader>,
    files: &[String],
    manifest: &DatasetManifest,
    folder: &Path,
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
        records.extend(reader::read(readers, &path, &manifest.reader)?);
    }
    Ok(records)
}

fn tokenised(
    rows: Vec<RawExample>,
    which: &str,
    (task, column): (&dyn Task, &str),
    tokenizer: &Tokenizer,
    max_tokens: usize,
) -> Result<Split> {
    let examples = rows
        .par_iter()
        .enumerate()
        .map(|(index, row)| {
            let label = task.parse(&row.label).with_context(|| format!("{}: column `{column}`", row.place))?;
            let encoded = tokenizer.encode(&row.texts, max_tokens).with_context(|| row.place.to_string())?;
            Ok(Example { encoded, label, row: index })
        })
        .collect::<Result<Vec<Example>>>()
        .with_context(|| format!("{which} split"))?;
    Ok(Split { examples, texts: rows.into_iter().map(|row| row.texts).collect() })
}
