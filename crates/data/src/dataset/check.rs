//! What is looked at before a dataset is trusted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, bail};
use mtl_task::{Cell, Kind, Label, Task, TaskSpec};

use super::Split;
use crate::split::Rows;
use crate::{RawExample, Texts};

/// Says how many rows repeat a text, how many of those disagree about its label, and how many stand in two splits.
pub(super) fn duplicates(rows: &Rows) -> Vec<String> {
    let mut seen: HashMap<String, (&Cell, usize)> = HashMap::new();
    let (mut repeated, mut disagreeing) = (0, 0);
    let mut across: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (split, rows) in [&rows.train, &rows.dev, &rows.test].into_iter().enumerate() {
        for row in rows.iter().filter(|row| !row.texts.is_empty()) {
            let text = row.texts.normalised();
            let Some((label, first)) = seen.get(&text) else {
                seen.insert(text, (&row.label, split));
                continue;
            };
            repeated += 1;
            disagreeing += usize::from(**label != row.label);
            if *first != split {
                *across.entry((*first, split)).or_default() += 1;
            }
        }
    }
    let mut notes = Vec::new();
    if repeated > 0 {
        notes.push(format!("{repeated} rows repeat the text of another, {disagreeing} of them with another label"));
    }
    let names = ["train", "dev", "test"];
    notes.extend(across.into_iter().map(|((first, second), count)| {
        format!(
            "{count} rows of {} have a text that is also in {}, as the source splits it",
            names[second], names[first]
        )
    }));
    notes
}

/// The table of a task of `kind` with its labels filled in from the training split if it names none.
pub(super) fn spec(kind: &Kind, spec: &TaskSpec, rows: &Rows, notes: &mut Vec<String>) -> Result<TaskSpec> {
    let mut spec = spec.clone();
    let mentioned =
        |rows: &[RawExample]| -> BTreeSet<String> { rows.iter().flat_map(|row| (kind.mentions)(&row.label)).collect() };
    let inferred = spec.labels.is_empty();
    if inferred {
        spec.labels = mentioned(&rows.train).into_iter().collect();
    }
    if !matches!(kind.truth, Label::Value(_)) {
        for (which, rows) in [("dev", &rows.dev), ("test", &rows.test)] {
            unseen(&spec, which, rows, kind.mentions, inferred)?;
        }
        let present = mentioned(&rows.train);
        let absent: Vec<&str> = spec.labels.iter().map(String::as_str).filter(|l| !present.contains(*l)).collect();
        if !absent.is_empty() {
            notes.push(format!("no training row has the label {}", absent.join(", ")));
        }
        if let (true, Some(only)) = (matches!(kind.truth, Label::Class(_)) && present.len() == 1, present.first()) {
            if inferred {
                bail!(
                    "every training row is of the class `{only}`, and a classification needs two; name them in [task] labels"
                );
            }
            notes.push(format!("every training row is of the class `{only}`: there is nothing to learn"));
        }
    }
    if kind.tags_words() {
        notes.extend(orphans(&rows.train));
    }
    Ok(spec)
}

/// Refuses a label that training never saw: with inferred labels the remedy is to name them.
fn unseen(
    spec: &TaskSpec,
    which: &str,
    rows: &[RawExample],
    mentions: fn(&Cell) -> Vec<String>,
    inferred: bool,
) -> Result<()> {
    let known: BTreeSet<&str> = spec.labels.iter().map(String::as_str).collect();
    if !inferred {
        return Ok(());
    }
    let strange = |row: &&RawExample| mentions(&row.label).into_iter().find(|name| !known.contains(name.as_str()));
    let count = rows.iter().filter(|row| strange(row).is_some()).count();
    if let Some(row) = rows.iter().find(|row| strange(row).is_some()) {
        let name = strange(&row).context("a row without the label it was found by")?;
        bail!(
            "{}: label `{name}` occurs in {which} ({count} rows with such labels) but never in train{}; if it is meant, \
             name every label in the manifest's [task] labels",
            row.place,
            mtl_task::nearest(&name, known)
        );
    }
    Ok(())
}

/// Rows that there is something to read in. A text without words is kept, and counted; a sentence without words has
/// nothing to tag.
pub(super) fn readable(rows: Vec<RawExample>, which: &str, notes: &mut Vec<String>) -> Vec<RawExample> {
    let empty = rows.iter().filter(|row| row.texts.is_empty()).count();
    let before = rows.len();
    let rows: Vec<RawExample> =
        rows.into_iter().filter(|row| !matches!(&row.texts, Texts::Tokens(words) if words.is_empty())).collect();
    if empty > 0 {
        notes.push(format!("{empty} texts of {which} are empty, {} of them left out", before - rows.len()));
    }
    rows
}

/// `I-x` that follows neither `B-x` nor `I-x`.
fn orphans(rows: &[RawExample]) -> Option<String> {
    let mut count = 0;
    let mut first = None;
    for row in rows {
        let Cell::Many(tags) = &row.label else { continue };
        let mut before = "";
        for tag in tags {
            let inside = tag.strip_prefix("I-");
            if inside.is_some() && inside != before.strip_prefix("B-").or(before.strip_prefix("I-")) {
                count += 1;
                first.get_or_insert_with(|| format!("{}: `{tag}` behind `{before}`", row.place));
            }
            before = tag;
        }
    }
    first.map(|first| {
        format!("{count} tags I-x follow neither B-x nor I-x and are read as a span's beginning (first: {first})")
    })
}

/// Warns of a training split that holds a single answer.
pub(super) fn labels(task: &dyn Task, train: &Split) -> Option<String> {
    let first = train.examples.first()?;
    let constant = train.examples.iter().all(|example| example.label == first.label);
    (constant && matches!(first.label, Label::Value(_)))
        .then(|| format!("every training target is {}: there is nothing to learn", task.render(&first.label)))
}
