//! What is looked at before a dataset is trusted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail};
use mtl_task::{Cell, Kind, Label, TaskSpec};

use crate::manifest::DatasetManifest;
use crate::split::{Entry, Rows};
use crate::{RawExample, Texts};

/// Says how many rows repeat a text, how many of those disagree about its label, and how many stand in two splits.
pub(super) fn duplicates(rows: &Rows<Entry>) -> Vec<String> {
    let mut seen: HashMap<&str, (&Cell, usize)> = HashMap::new();
    let (mut repeated, mut disagreeing) = (0, 0);
    let mut across: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (split, rows) in [&rows.train, &rows.dev, &rows.test].into_iter().enumerate() {
        for Entry { example: row, key, .. } in rows.iter().filter(|entry| !entry.example.texts.is_empty()) {
            let Some((label, first)) = seen.get(key.as_str()) else {
                seen.insert(key, (&row.label, split));
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
    let name = |split: usize| ["train", "dev", "test"].get(split).copied().unwrap_or_default();
    notes.extend(across.into_iter().map(|((first, second), count)| {
        format!("{count} rows of {} have a text that is also in {}, as the source splits it", name(second), name(first))
    }));
    notes
}

/// The table of a task of `kind` with its labels filled in, if it names none: those of the training split, then those
/// that only dev or test have.
pub(super) fn spec(kind: &Kind, manifest: &DatasetManifest, rows: &Rows, notes: &mut Vec<String>) -> Result<TaskSpec> {
    let columns = &manifest.columns;
    let mut spec = manifest.task.clone();
    let mentions = |row: &RawExample| -> Vec<String> {
        (kind.mentions)(&row.label).into_iter().filter(|name| !columns.is_ignored(name)).collect()
    };
    let mentioned = |rows: &[RawExample]| -> BTreeSet<String> { rows.iter().flat_map(mentions).collect() };
    let inferred = spec.labels.is_empty();
    if inferred {
        spec.labels = mentioned(&rows.train).into_iter().collect();
        if !columns.indicators.is_empty() {
            spec.labels = columns.indicators.iter().map(|column| columns.indicator_name(column)).collect();
        }
    }
    if !matches!(kind.truth, Label::Value(_)) {
        if inferred {
            let seen = spec.labels.clone();
            for (which, rows) in [("dev", &rows.dev), ("test", &rows.test)] {
                for name in unseen(&seen, which, rows, &mentions, notes)? {
                    if !spec.labels.contains(&name) {
                        spec.labels.push(name);
                    }
                }
            }
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
        super::tags::settle(&mut spec, rows, manifest, notes)?;
    }
    Ok(spec)
}

/// The labels of a split that training never saw, with a note: a model never predicts them, so each is a miss. Where most
/// rows have such labels, the split's are others than train's.
fn unseen(
    seen: &[String],
    which: &str,
    rows: &[RawExample],
    mentions: &dyn Fn(&RawExample) -> Vec<String>,
    notes: &mut Vec<String>,
) -> Result<BTreeSet<String>> {
    let known: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
    let strange = |row: &RawExample| mentions(row).into_iter().find(|name| !known.contains(name.as_str()));
    let found: Vec<(&RawExample, String)> = rows.iter().filter_map(|row| Some((row, strange(row)?))).collect();
    let Some((row, name)) = found.first() else { return Ok(BTreeSet::new()) };
    let all: BTreeSet<String> = rows.iter().flat_map(mentions).filter(|name| !known.contains(name.as_str())).collect();
    let nearest = mtl_task::nearest(name, known.iter().copied());
    if 2 * found.len() > rows.len() {
        bail!(
            "{}: label `{name}` occurs in {which} but never in train{nearest}, as do the labels of {} of its {} rows: both \
             have to name labels alike ([columns.label_names]); if they do, name every label in [task] labels",
            row.place,
            found.len(),
            rows.len()
        );
    }
    notes.push(format!(
        "{}: label `{name}` occurs in {which} but never in train{nearest}{}: {} cannot be learnt, and {} counted as missed",
        row.place,
        match all.len() {
            1 => String::new(),
            2 => ", as does another".into(),
            more => format!(", as do {} others", more - 1),
        },
        if all.len() > 1 { "they" } else { "it" },
        if found.len() == 1 { "1 row is".into() } else { format!("{} rows are", found.len()) },
    ));
    Ok(all)
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
