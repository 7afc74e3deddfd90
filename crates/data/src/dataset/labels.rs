//! No label is invented: what a label column holds in the place of a label is refused, with what would be right.
//!
//! Names that the manifest gives, in `[task] labels` or as a replacement in `[columns.label_names]`, are labels whatever
//! they look like.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::{Result, bail};
use mtl_task::{Cell, Encoded, Kind, Label};

use crate::RawExample;
use crate::manifest::{Columns, DatasetManifest};
use crate::reader::At;
use crate::rows::indicator;
use crate::split::Rows;

/// What stands where there is no label, in lower case: of spreadsheets, pandas, SNLI and PyTorch's cross entropy.
const MISSING: [&str; 9] = ["", "#n/a", "-", "-100", "<na>", "n/a", "na", "nan", "null"];

/// What may stand for no label, and is a label elsewhere.
const DOUBTFUL: [&str; 4] = ["?", "_", "none", "unlabeled"];

/// What separates the labels of a set that is written as one text.
const SEPARATORS: [char; 5] = [',', ';', '|', '/', ' '];

/// So many names are told of a kind.
const TOLD: usize = 3;

/// How often a name occurs, and in which row first.
type Names<'a> = BTreeMap<&'a str, (usize, &'a RawExample)>;

/// Reads indicators as the labels that they stand for, and refuses rows whose label is none.
///
/// # Errors
/// With the first such row, how many there are, and what the manifest should say.
pub(super) fn settle(rows: &mut Rows, manifest: &DatasetManifest, kind: &Kind) -> Result<Vec<String>> {
    let of_sets = matches!(kind.truth, Label::Set(_));
    if of_sets {
        indicators(rows, manifest, kind)?;
    }
    let mut notes = Vec::new();
    let mut names: Names = BTreeMap::new();
    let (mut empty, mut untagged, mut words) = (0, 0, 0);
    for row in every(rows) {
        let mut count = |name| names.entry(name).or_insert((0, row)).0 += 1;
        match &row.label {
            Cell::Text(text) if of_sets && text.is_empty() => empty += 1,
            Cell::Text(text) => count(text.as_str()),
            Cell::Many(list) => {
                empty += usize::from(list.is_empty());
                words += list.len();
                let (ignored, kept): (Vec<&str>, Vec<&str>) =
                    list.iter().map(String::as_str).partition(|name| manifest.columns.is_ignored(name));
                untagged += ignored.len();
                kept.into_iter().for_each(count);
            }
        }
    }
    if matches!(kind.truth, Label::Value(_)) {
        return numbers(&names, manifest, kind).map(|()| notes);
    }
    let given: HashSet<&str> =
        manifest.task.labels.iter().chain(manifest.columns.label_names.values()).map(String::as_str).collect();
    names.retain(|name, _| !given.contains(name));
    missing(&names, manifest, kind)?;
    if manifest.task.labels.is_empty() {
        numbers_twice(&names, manifest, kind)?;
        if of_sets {
            sets(&names, manifest, kind)?;
        }
        notes.extend(doubts(&names, kind));
    }
    if untagged > 0 {
        notes.push(format!(
            "{untagged} of {words} words have no tag, as ignore in [columns] says: they count neither in the loss nor in \
             a metric"
        ));
    }
    if of_sets && empty > 0 {
        notes.push(format!("{} no label: an empty set is what is learnt there", plural(empty, "row has", "rows have")));
    }
    Ok(notes)
}

/// The label without the tags that are to be ignored; their words stay in the text and lose their anchors, so that
/// neither a loss nor a metric sees them.
pub(super) fn counted<'a>(label: &'a Cell, encoded: &mut Encoded, columns: &Columns) -> Cow<'a, Cell> {
    let Cell::Many(tags) = label else { return Cow::Borrowed(label) };
    if columns.ignore.is_empty() || encoded.words != tags.len() {
        return Cow::Borrowed(label);
    }
    let counts: Vec<bool> = tags.iter().map(|tag| !columns.is_ignored(tag)).collect();
    let mut of_anchors = counts.iter();
    encoded.anchors.retain(|_| of_anchors.next().copied().unwrap_or(true));
    let tags: Vec<String> =
        tags.iter().zip(&counts).filter(|(_, counts)| **counts).map(|(tag, _)| tag.clone()).collect();
    encoded.words = tags.len();
    Cow::Owned(Cell::Many(tags))
}

/// The rows of all splits as they follow each other in their files: what is found first is what a person meets first.
pub(super) fn every(rows: &Rows) -> impl Iterator<Item = &RawExample> {
    let mut all: Vec<&RawExample> = [&rows.train, &rows.dev, &rows.test].into_iter().flatten().collect();
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &all {
        let next = files.len();
        files.entry(&row.place.file).or_insert(next);
    }
    let number = |row: &RawExample| match row.place.at {
        At::Line(number) | At::Words(number) | At::Record(number) => number,
    };
    all.sort_by_key(|row| (files.get(&*row.place.file).copied(), number(row)));
    all.into_iter()
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The column that a message names.
fn column<'a>(manifest: &'a DatasetManifest, kind: &Kind) -> &'a str {
    manifest.columns.label(kind.tags_words())
}

/// Refuses what stands where there is no label.
fn missing(names: &Names, manifest: &DatasetManifest, kind: &Kind) -> Result<()> {
    let number = |name: &str| name.parse::<i64>().ok();
    // Minus one is a class beside plus one, or beside other negative ones; beside 0, 1, 2 it says: not labelled.
    let numbered = names.contains_key("0") && names.keys().all(|name| number(name).is_some_and(|number| number >= -1));
    let alone = names.len() == 1 && manifest.task.labels.is_empty();
    let none = |name: &str| {
        MISSING.contains(&name.to_ascii_lowercase().as_str())
            || (name == "-1" && (numbered || alone || number_labels(manifest)))
    };
    let Some((name, (count, row))) = names.iter().find(|(name, _)| none(name)) else { return Ok(()) };
    let (unit, left) = match kind.tags_words() {
        true => (plural(*count, "word", "words"), "such words out of loss and metrics"),
        false => (plural(*count, "row", "rows"), "such rows out"),
    };
    let (shown, otherwise) = match *name {
        "" => ("an empty cell".to_string(), String::new()),
        name => {
            (format!("`{name}`"), format!("; if it is a label, {name:?} = {name:?} in [columns.label_names] says so"))
        }
    };
    bail!(
        "{}: column `{}`: {shown} is no label ({unit}); ignore = [{name:?}] in the manifest's [columns] leaves \
         {left}{otherwise}",
        row.place,
        column(manifest, kind)
    )
}

/// Whether the manifest's labels are made of the numbers from 0, as the Hub's datasets have them.
fn number_labels(manifest: &DatasetManifest) -> bool {
    manifest.columns.label_names.contains_key("0") || manifest.task.labels.iter().any(|label| label == "0")
}

/// Refuses regression targets that say there is none, or that have a decimal comma. What else is no number is refused
/// where it is parsed.
fn numbers(names: &Names, manifest: &DatasetManifest, kind: &Kind) -> Result<()> {
    for (name, (count, row)) in names {
        let place = format!("{}: column `{}`", row.place, column(manifest, kind));
        if name.parse::<f64>().is_ok_and(f64::is_finite) {
            continue;
        }
        if MISSING.contains(&name.to_ascii_lowercase().as_str()) {
            let what = if name.parse::<f64>().is_ok() { "a finite number" } else { "a number" };
            bail!(
                "{place}: {what} was expected, found `{name}` ({}); ignore = [{name:?}] in the manifest's [columns] leaves \
                 such rows out",
                plural(*count, "row", "rows")
            );
        }
        let comma = name.replacen(',', ".", 1);
        if name.contains(',') && !name.contains('.') && comma.parse::<f64>().is_ok() {
            bail!(
                "{place}: a number was expected, found `{name}`; if that is a decimal comma, set decimal = \",\" in the \
                 manifest's [reader]"
            );
        }
    }
    Ok(())
}

/// Refuses two names of one number, such as `1` and `1.0`.
fn numbers_twice(names: &Names, manifest: &DatasetManifest, kind: &Kind) -> Result<()> {
    for (name, (count, row)) in names {
        let Some((whole, fraction)) = name.split_once('.') else { continue };
        if fraction.bytes().all(|byte| byte == b'0') && names.contains_key(whole) {
            bail!(
                "{}: column `{}`: `{name}` ({}) and `{whole}` are the same number, and would be two classes; {name:?} = \
                 {whole:?} in the manifest's [columns.label_names] makes them one",
                row.place,
                column(manifest, kind),
                plural(*count, "row", "rows")
            );
        }
    }
    Ok(())
}

/// Refuses sets that are written as one text where no separator is set: `joy,fear` would be a label of its own.
fn sets(names: &Names, manifest: &DatasetManifest, kind: &Kind) -> Result<()> {
    if let (true, Some((_, (_, row)))) = (names.keys().all(|name| indicator(name).is_some()), names.iter().next()) {
        bail!(
            "{}: column `{}` holds 0 and 1, which are no labels; where each label has such a column, name them: indicators \
             = [{:?}, …] in the manifest's [columns], in the place of label; if these are the labels, name them in [task] \
             labels",
            row.place,
            column(manifest, kind),
            column(manifest, kind)
        );
    }
    if manifest.columns.label_separator.is_some() {
        return Ok(());
    }
    for separator in SEPARATORS {
        let parts = |name: &str| -> Vec<String> { name.split(separator).map(|part| part.trim().to_string()).collect() };
        let joined: Vec<(&str, &RawExample)> =
            names.iter().filter(|(name, _)| name.contains(separator)).map(|(name, (_, row))| (*name, *row)).collect();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        joined.iter().flat_map(|(name, _)| parts(name)).for_each(|part| *seen.entry(part).or_default() += 1);
        // A part is a label elsewhere, or part of another set. For spaces and slashes, every part has to be.
        let known = |part: &String| {
            names.contains_key(part.as_str()) || (separator != ' ' && seen.get(part).is_some_and(|times| *times > 1))
        };
        let strict = matches!(separator, ' ' | '/');
        let set = joined.iter().find(|(name, _)| {
            let parts = parts(name);
            if strict { parts.iter().all(known) } else { parts.iter().any(known) }
        });
        if let Some((name, row)) = set {
            bail!(
                "{}: column `{}`: `{name}` would be one label; if it is a set, label_separator = \"{separator}\" in the \
                 manifest's [columns] reads it as {}; if it is one, name every label in [task] labels",
                row.place,
                column(manifest, kind),
                parts(name).iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(" and ")
            );
        }
    }
    Ok(())
}

/// Names that may be mistakes, and may be right.
fn doubts(names: &Names, kind: &Kind) -> Vec<String> {
    let mut notes = Vec::new();
    let doubtful = names.iter().filter(|(name, _)| DOUBTFUL.contains(&name.to_lowercase().as_str())).take(TOLD);
    notes.extend(doubtful.map(|(name, (count, row))| {
        format!(
            "`{name}` is taken for a label ({count} times, first at {}); if it says that there is none, ignore = \
             [{name:?}] in [columns] leaves it out",
            row.place
        )
    }));
    let damaged = names.iter().filter(|(name, _)| name.contains('\u{fffd}')).take(TOLD);
    notes.extend(damaged.map(|(name, (_, row))| {
        format!("{}: the label `{name}` was damaged by a wrong encoding before it was written", row.place)
    }));
    let mut by_letters: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    names.keys().for_each(|name| by_letters.entry(name.to_lowercase()).or_default().push(name));
    notes.extend(by_letters.values().filter(|same| same.len() > 1).take(TOLD).map(|same| {
        format!(
            "the labels {} differ in upper and lower case alone; [columns.label_names] makes them one",
            same.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ")
        )
    }));
    let joined = |name: &&str| {
        let parts: Vec<&str> = name.split([',', ';', '|']).map(str::trim).collect();
        parts.len() > 1 && parts.iter().all(|part| names.contains_key(part))
    };
    if let (true, Some(name)) = (matches!(kind.truth, Label::Class(_)), names.keys().copied().find(joined)) {
        notes.push(format!(
            "the class `{name}` is made of other classes: sets of labels are read by kind = \"multilabel\" with \
             label_separator in [columns]"
        ));
    }
    notes
}

/// Lists of 0 and 1 become the labels that they stand for, in the order of `[task] labels`.
fn indicators(rows: &mut Rows, manifest: &DatasetManifest, kind: &Kind) -> Result<()> {
    let labels = &manifest.task.labels;
    if !manifest.columns.indicators.is_empty() || labels.iter().any(|label| indicator(label).is_some()) {
        return Ok(());
    }
    let seen: &Rows = rows;
    let lists = || {
        every(seen).filter_map(|row| match &row.label {
            Cell::Many(list) if !list.is_empty() => Some((row, list)),
            _ => None,
        })
    };
    let Some((first, list)) = lists().next() else { return Ok(()) };
    if !lists().flat_map(|(_, list)| list).all(|item| indicator(item).is_some()) {
        return Ok(());
    }
    let twice = |list: &Vec<String>| list.iter().collect::<BTreeSet<_>>().len() < list.len();
    let places = list.len();
    if labels.is_empty() {
        // As labels, `0` and `1` are in a set once at most, and sets are of unlike size.
        if lists().any(|(_, list)| twice(list)) || (places > 1 && lists().all(|(_, list)| list.len() == places)) {
            bail!(
                "{}: column `{}`: a list of 0 and 1 says which of {places} labels hold, and not what they are called; \
                 name the {places} in that order in the manifest's [task] labels",
                first.place,
                column(manifest, kind)
            );
        }
        return Ok(());
    }
    if let Some((row, list)) = lists().find(|(_, list)| list.len() != labels.len()) {
        bail!(
            "{}: column `{}`: {} indicators for the {} labels of [task] labels ({})",
            row.place,
            column(manifest, kind),
            list.len(),
            labels.len(),
            labels.iter().take(12).cloned().collect::<Vec<_>>().join(", ")
        );
    }
    for row in rows.train.iter_mut().chain(&mut rows.dev).chain(&mut rows.test) {
        if let Cell::Many(list) = &mut row.label {
            let holding = list.iter().zip(labels).filter(|(item, _)| indicator(item) == Some(true));
            *list = holding.map(|(_, label)| label.clone()).collect();
        }
    }
    Ok(())
}
