//! One dataset, from its manifest to tokenised splits.

mod check;
mod empty;
mod labels;
mod masked;
mod tags;

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Kind, Label, Task, TaskSpec};
use rayon::prelude::*;

use crate::fingerprint::{self, Fingerprint};
use crate::generator::Ceiling;
use crate::manifest::DatasetManifest;
use crate::registries::DataRegistries;
use crate::split::overlap::OverlapPolicy;
use crate::split::shared::Table;
use crate::split::{self, Entry, Parted, Rows, Sample};
use crate::{RawExample, Sealed, Texts, Tokenizer, table};

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
    /// What it was made of, by which a changed file or split is told.
    pub fingerprint: Fingerprint,
    /// The best value of the task's headline metric that can be expected of any model, on the metric's own scale: known
    /// of generated text alone.
    pub ceiling: Option<f64>,
}

impl Dataset {
    /// Number of examples to report on: counted without opening them.
    pub fn test_size(&self) -> usize {
        self.test.counted().examples.len()
    }
}

/// How much of a dataset is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Longest input in tokens, special ones included.
    pub max_tokens: usize,
    /// Training examples, drawn by seed; 0 for all, or of generated text as many as its generator says.
    pub limit_train: usize,
    /// Dev examples, drawn by seed; 0 for all.
    pub limit_dev: usize,
    /// Test examples, drawn by seed; 0 for all.
    pub limit_test: usize,
    /// Seed of the draws. Splits do not depend on it: they follow the manifest's own.
    pub seed: u64,
    /// Seed of the draw of training examples alone; left out, `seed`.
    pub train_seed: Option<u64>,
    /// Seed of the draw of dev examples alone; left out, `seed`.
    pub dev_seed: Option<u64>,
    /// Whether the draw of training examples keeps the classes' shares.
    pub stratified: bool,
    /// Whether a task has at most as many dev examples as it has to train on.
    pub dev_as_train: bool,
    /// What becomes of training rows whose text some task holds out.
    pub overlap: OverlapPolicy,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            max_tokens: 128,
            limit_train: 0,
            limit_dev: 0,
            limit_test: 0,
            seed: 0,
            train_seed: None,
            dev_seed: None,
            stratified: false,
            dev_as_train: false,
            overlap: OverlapPolicy::default(),
        }
    }
}

/// A task's name, what its dataset is, and where that lies.
#[derive(Clone, Copy, Debug)]
pub struct TaskSource<'a> {
    /// The task's name.
    pub name: &'a str,
    /// What it is; one task of several ([`DatasetManifest::of_label`]).
    pub manifest: &'a DatasetManifest,
    /// The folder of its files.
    pub folder: &'a Path,
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
    let loaded = load_all(registries, &[TaskSource { name, manifest, folder }], tokenizer, options)?;
    loaded.into_iter().next().context("no dataset")
}

/// Loads the datasets of tasks that are trained together, in their order. A text that several of them have is in one
/// split for all of them as far as splits are drawn; what sources give stays, and `options.overlap` decides about
/// training rows whose text some task holds out.
///
/// # Errors
/// As [`load`], with the dataset's name.
pub fn load_all(
    registries: &DataRegistries,
    sources: &[TaskSource],
    tokenizer: &Tokenizer,
    options: &LoadOptions,
) -> Result<Vec<Dataset>> {
    load_each(registries, sources, tokenizer, &vec![*options; sources.len()])
}

/// As [`load_all`], each task with options of its own, one for each of `sources`. What becomes of overlaps concerns all
/// of them; the first decides.
///
/// # Errors
/// As [`load_all`], and if there are not as many options as tasks.
#[expect(clippy::indexing_slicing, reason = "every list here has as many items as `sources`")]
pub fn load_each(
    registries: &DataRegistries,
    sources: &[TaskSource],
    tokenizer: &Tokenizer,
    options: &[LoadOptions],
) -> Result<Vec<Dataset>> {
    if options.len() != sources.len() {
        bail!("{} tasks need as many options to load them by, found {}", sources.len(), options.len());
    }
    let overlap = options.first().map(|options| options.overlap).unwrap_or_default();
    let (mut kinds, mut parted) = (Vec::with_capacity(sources.len()), Vec::with_capacity(sources.len()));
    for source in sources {
        let context = || format!("dataset `{}`", source.name);
        let kind = source.manifest.kind(&registries.kinds).with_context(context)?;
        parted.push(table::parted(registries, source.manifest, kind, source.folder).with_context(context)?);
        kinds.push(kind);
    }
    let identities: Vec<String> = sources.iter().map(table::identity).collect::<Result<_>>()?;
    let mut tables: Vec<Table> = (sources.iter().zip(&identities).zip(&mut parted))
        .map(|((source, identity), parted)| Table { name: source.name, identity, parted })
        .collect();
    let shared = split::shared::settle(&mut tables);
    let found: Vec<Vec<String>> = parted.iter_mut().map(|parted| std::mem::take(&mut parted.notes)).collect();
    let known: Vec<Known> = parted.iter_mut().map(Known::of).collect();
    let mut rows: Vec<Rows<Entry>> = parted.into_iter().map(Parted::into_rows).collect();
    let unlabelled: Vec<usize> = rows.iter_mut().map(Rows::keep_labelled).collect();
    let duplicates: Vec<Vec<String>> = rows.iter().map(check::duplicates).collect();
    let mut named: Vec<(&str, &mut Rows<Entry>)> = sources.iter().map(|source| source.name).zip(&mut rows).collect();
    let overlaps = split::overlap::settle(&mut named, overlap);
    let mut datasets = Vec::with_capacity(sources.len());
    for (index, rows) in rows.into_iter().enumerate() {
        let count = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let notes = [
            count(unlabelled[index], "rows have no label of this task and are left out of it"),
            count(shared[index], "texts are in other tasks too; each is in one split for all of them"),
        ];
        let notes = notes.into_iter().flatten().chain(duplicates[index].iter().cloned());
        let mut notes: Vec<String> = found[index].iter().cloned().chain(notes).collect();
        notes.extend(overlaps[index].clone());
        let reason = overlaps[index].as_deref();
        let drawn = Drawn { rows: rows.into_examples(), notes, overlap: reason, known: &known[index] };
        let loaded = dataset(&sources[index], kinds[index], drawn, tokenizer, &options[index]);
        datasets.push(loaded.with_context(|| format!("dataset `{}`", sources[index].name))?);
    }
    Ok(datasets)
}

/// What a generator knows of its rows.
struct Known {
    size: Option<usize>,
    drawn_as: Option<String>,
    ceiling: Option<Ceiling>,
}

impl Known {
    fn of(parted: &mut Parted) -> Self {
        Self { size: parted.size, drawn_as: parted.drawn_as.take(), ceiling: parted.ceiling.take() }
    }
}

/// Rows whose splits are settled.
struct Drawn<'a> {
    rows: Rows,
    notes: Vec<String>,
    /// Why rows were left out of train.
    overlap: Option<&'a str>,
    known: &'a Known,
}

/// The dataset of rows whose splits are settled.
fn dataset(
    source: &TaskSource,
    kind: &Kind,
    drawn: Drawn,
    tokenizer: &Tokenizer,
    options: &LoadOptions,
) -> Result<Dataset> {
    let TaskSource { name, manifest, folder } = *source;
    let Drawn { mut rows, mut notes, overlap, known } = drawn;
    if let (true, Some(reason)) = (rows.train.is_empty(), overlap) {
        bail!("the train split is empty: {reason}");
    }
    notes.extend(labels::settle(&mut rows, manifest, kind)?);
    let census = empty::Census::new(&rows, kind);
    let mut spec = check::spec(kind, manifest, &rows, &mut notes)?;
    if !kind.labelled {
        masked::settle(&mut spec, &rows.train, tokenizer, options.max_tokens)?;
        notes.push(format!("{} tokens of the training split are asked for", spec.labels.len()));
    }
    let column = manifest.columns.label(kind.tags_words());
    let fitted = {
        let task = (kind.build)(&spec)?;
        let mut truths = rows.train.iter().map(|row| parsed(task.as_ref(), row, column));
        task.fitted(&spec, &mut truths).context("train split")?
    };
    let task = (kind.build)(&fitted)?;
    if let (None, Some(scale)) = (spec.scale, fitted.scale) {
        notes.push(format!("targets are standardised by the training split's: {scale}"));
    }
    let ceiling = known.ceiling.as_ref().filter(|ceiling| task.metrics().first() == Some(&ceiling.metric));
    if let Some(Ceiling { metric, score }) = ceiling {
        notes.push(format!("no model can be expected to do better than {metric} {score:.4}, the ceiling"));
    }
    let ceiling = ceiling.map(|ceiling| ceiling.score);
    let limit_train = match (options.limit_train, known.size) {
        (0, Some(size)) => {
            let all = rows.train.len();
            notes.push(format!("{} of {all} generated rows are trained on, drawn by the data seed", size.min(all)));
            size
        }
        (limit, _) => limit,
    };
    let drawn_as = known.drawn_as.as_deref().unwrap_or(name);
    let key = |seed: u64, which: &str| Key::new(seed).named("limit").named(drawn_as).named(which);
    let classes = |rows: &[RawExample]| classes_of(task.as_ref(), rows);
    let pairs = rows.train.first().map(|row| matches!(row.texts, Texts::Pair(..)));
    let files = fingerprint::files(manifest, folder)?;
    let columns = if files.is_empty() { Vec::new() } else { manifest.columns.texts(kind.tags_words()) };
    let mut fingerprint = Fingerprint { files, pairs, columns, ..Fingerprint::default() };
    let mut split = |rows: Vec<RawExample>, which: &str, sample: Sample| -> Result<Split> {
        let rows = check::readable(rows, which, &mut notes);
        if rows.is_empty() {
            bail!(census.why(which, manifest));
        }
        fingerprint.splits.insert(which.to_string(), fingerprint::split(&rows));
        let strata = if sample.stratified { classes(&rows) } else { None };
        let rows = sample.of(rows, strata.as_deref());
        tokenised(rows, which, (task.as_ref(), kind, manifest), tokenizer, options.max_tokens)
    };
    let sample = |which: &str, seed: Option<u64>, limit: usize| Sample {
        limit,
        key: key(seed.unwrap_or(options.seed), which),
        stratified: false,
    };
    let train = Sample { stratified: options.stratified, ..sample("train", options.train_seed, limit_train) };
    let train = split(rows.train, "train", train)?;
    let trained = train.examples.len();
    let limit_dev = match (options.dev_as_train, options.limit_dev) {
        (false, limit) => limit,
        (true, 0) => trained,
        (true, limit) => limit.min(trained),
    };
    let dev = split(rows.dev, "dev", sample("dev", options.dev_seed, limit_dev))?;
    let test = Sealed::new(split(rows.test, "test", sample("test", None, options.limit_test))?);
    Ok(Dataset { name: name.to_string(), spec: fitted, task, train, dev, test, notes, fingerprint, ceiling })
}

/// What a fetched dataset holds, in words: the sizes of its splits, and how many rows repeat a text; for each of its
/// label columns if it has several.
///
/// # Errors
/// As [`load`].
pub fn survey(registries: &DataRegistries, manifest: &DatasetManifest, folder: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    if manifest.is_of_several() {
        for label in manifest.labels() {
            let of_label =
                survey(registries, &manifest.of_label(label)?, folder).with_context(|| format!("label `{label}`"))?;
            lines.extend(of_label.into_iter().map(|line| format!("{label}: {line}")));
        }
        return Ok(lines);
    }
    let mut parted = table::parted(registries, manifest, manifest.kind(&registries.kinds)?, folder)?;
    let notes = std::mem::take(&mut parted.notes);
    let mut rows = parted.into_rows();
    let unlabelled = rows.keep_labelled();
    lines.push(format!("{} rows to train on, {} dev, {} test", rows.train.len(), rows.dev.len(), rows.test.len()));
    if unlabelled > 0 {
        lines.push(format!("{unlabelled} rows without a label"));
    }
    let repeats = check::duplicates(&rows);
    let none = repeats.is_empty().then(|| "no text is listed twice".to_string());
    lines.extend(repeats.into_iter().chain(none).chain(notes));
    Ok(lines)
}

/// The class of each row; nothing of tasks whose answers are no classes.
fn classes_of(task: &dyn Task, rows: &[RawExample]) -> Option<Vec<u32>> {
    let class = |row: &RawExample| match task.parse(&row.label) {
        Ok(Label::Class(class)) => Some(class),
        _ => None,
    };
    rows.iter().map(class).collect()
}

fn parsed(task: &dyn Task, row: &RawExample, column: &str) -> Result<Label> {
    task.parse(&row.label).with_context(|| format!("{}: column `{column}`", row.place))
}

fn tokenised(
    rows: Vec<RawExample>,
    which: &str,
    (task, kind, manifest): (&dyn Task, &Kind, &DatasetManifest),
    tokenizer: &Tokenizer,
    max_tokens: usize,
) -> Result<Split> {
    let column = manifest.columns.label(kind.tags_words());
    let examples = rows
        .par_iter()
        .enumerate()
        .map(|(index, row)| {
            let mut encoded = tokenizer.encode(&row.texts, max_tokens).with_context(|| row.place.to_string())?;
            let label = labels::counted(&row.label, &mut encoded, &manifest.columns);
            let mut label = task.parse(&label).with_context(|| format!("{}: column `{column}`", row.place))?;
            if let Some(masked) = task.masked(&encoded, &label, masked::key(manifest, &row.texts)) {
                (encoded, label) = masked;
            }
            // A sentence none of whose tagged words is within the limit has nothing to learn.
            let asked = encoded.words > 0 || !kind.labelled;
            let nothing = which == "train" && asked && encoded.anchors.is_empty();
            Ok((!nothing).then_some(Example { encoded, label, row: index }))
        })
        .collect::<Vec<Result<Option<Example>>>>();
    // The first mistake is told of, whoever finds one first.
    let examples = examples.into_iter().collect::<Result<Vec<_>>>().with_context(|| format!("{which} split"))?;
    let examples = examples.into_iter().flatten().collect();
    Ok(Split { examples, texts: rows.into_iter().map(|row| row.texts).collect() })
}
