//! One dataset, from its manifest to tokenised splits.

mod check;
mod empty;
mod labels;

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Label, Task, TaskSpec};
use rayon::prelude::*;

use crate::manifest::{DatasetManifest, Source, Splits};
use crate::reader::{self, Record};
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

/// Loads the dataset that `manifest` describes, its files lying in `folder`.
///
/// # Errors
/// If a file is missing or malformed, a column is missing, a label unknown or a split empty: with file, line, what was
/// found and what would be right.
pub fn load(
    name: &str,
    manifest: &DatasetManifest,
    folder: &Path,
    tokenizer: &Tokenizer,
    options: &LoadOptions,
) -> Result<Dataset> {
    let mut rows = rows(manifest, folder)?;
    let mut notes = std::mem::take(&mut rows.notes);
    notes.extend(check::duplicates(&rows));
    let census = empty::Census::new(&rows, manifest);
    let spec = check::spec(manifest, &rows, &mut notes)?;
    let task = mtl_task::build(&spec)?;
    let key = Key::new(options.seed).named("limit").named(name);
    let mut split = |rows: Vec<RawExample>, which: &str, limit: usize| -> Result<Split> {
        let rows = check::readable(rows, which, &mut notes);
        if rows.is_empty() {
            bail!(census.why(which, manifest));
        }
        let rows = limited(rows, limit, key.named(which));
        tokenised(rows, which, (task.as_ref(), manifest), tokenizer, options.max_tokens)
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
pub fn survey(manifest: &DatasetManifest, folder: &Path) -> Result<Vec<String>> {
    let mut rows = rows(manifest, folder)?;
    let notes = std::mem::take(&mut rows.notes);
    let sizes = format!("{} rows to train on, {} dev, {} test", rows.train.len(), rows.dev.len(), rows.test.len());
    let repeats = check::duplicates(&rows);
    let none = repeats.is_empty().then(|| "no text is listed twice".to_string());
    Ok(std::iter::once(sizes).chain(repeats).chain(none).chain(notes).collect())
}

/// The rows of every split.
fn rows(manifest: &DatasetManifest, folder: &Path) -> Result<Rows> {
    let splits = &manifest.splits;
    let mut rows = Rows::default();
    if let Some(generator) = &manifest.generator {
        rows.train = generator::rows(generator)?;
    } else {
        if splits.train.is_empty() && splits.all.is_empty() {
            bail!("[splits] names no file to train on: `train`, or `all`");
        }
        let mut notes = Vec::new();
        let mut read = |files: &[String]| read(files, manifest, folder, &mut notes);
        let mut unlabelled = [0, 0];
        let mut parsed = |records: Vec<Record>| -> Result<Vec<RawExample>> {
            let rows = records.par_iter().map(|record| row(record, manifest)).collect::<Result<Vec<_>>>()?;
            let kept: Vec<RawExample> = rows.into_iter().flatten().collect();
            unlabelled = [unlabelled[0] + records.len() - kept.len(), unlabelled[1] + records.len()];
            Ok(kept)
        };
        rows.train = parsed(read(&splits.train)?)?;
        rows.dev = parsed(read(&splits.dev)?)?;
        rows.test = parsed(read(&splits.test)?)?;
        let all = read(&splits.all)?;
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
        notes.extend(labels::settle(&mut rows, manifest)?);
        rows.notes = notes;
    }
    fill(&mut rows, splits, manifest.task.kind == "classification")?;
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

fn read(files: &[String], manifest: &DatasetManifest, folder: &Path, notes: &mut Vec<String>) -> Result<Vec<Record>> {
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
        let (found, said) = reader::read_noted(&path, &manifest.reader)?;
        records.extend(found);
        notes.extend(said);
    }
    Ok(records)
}

fn tokenised(
    rows: Vec<RawExample>,
    which: &str,
    (task, manifest): (&dyn Task, &DatasetManifest),
    tokenizer: &Tokenizer,
    max_tokens: usize,
) -> Result<Split> {
    let column = manifest.columns.label(&manifest.task);
    let examples = rows
        .par_iter()
        .enumerate()
        .map(|(index, row)| {
            let mut encoded = tokenizer.encode(&row.texts, max_tokens).with_context(|| row.place.to_string())?;
            let label = labels::counted(&row.label, &mut encoded, &manifest.columns);
            let label = task.parse(&label).with_context(|| format!("{}: column `{column}`", row.place))?;
            // A sentence none of whose tagged words is within the limit has nothing to learn.
            let nothing = which == "train" && encoded.words > 0 && encoded.anchors.is_empty();
            Ok((!nothing).then_some(Example { encoded, label, row: index }))
        })
        .collect::<Result<Vec<Option<Example>>>>()
        .with_context(|| format!("{which} split"))?;
    let examples = examples.into_iter().flatten().collect();
    Ok(Split { examples, texts: rows.into_iter().map(|row| row.texts).collect() })
}
