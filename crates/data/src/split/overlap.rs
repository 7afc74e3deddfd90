//! Texts of a dev or test split that some task would train on: splits that sources give overlap.

#![expect(clippy::indexing_slicing, reason = "an index is that of a table")]

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Entry, Part, Rows};

/// `[evaluation] overlap`: what becomes of training rows whose text stands in a dev or test split, of the same task or
/// of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlapPolicy {
    /// They are trained on, and counted in a note.
    Allow,
    /// They are left out of train, and counted in a note.
    #[default]
    Drop,
}

/// Applies `policy` to the tasks called by name; answers a note for each that has such rows.
pub(crate) fn settle(tasks: &mut [(&str, &mut Rows<Entry>)], policy: OverlapPolicy) -> Vec<Option<String>> {
    let mut held: HashMap<String, (usize, Part)> = HashMap::new();
    for (index, (_, rows)) in tasks.iter().enumerate() {
        for (part, entries) in rows.parts().into_iter().skip(1) {
            for entry in entries.iter().filter(|entry| !entry.example.texts.is_empty()) {
                // The first task that has it, in test if in both.
                let place = held.entry(entry.key.clone()).or_insert((index, part));
                if place.0 == index {
                    place.1 = place.1.max(part);
                }
            }
        }
    }
    let names: Vec<String> = tasks.iter().map(|(name, _)| (*name).to_string()).collect();
    let mut settled = Vec::new();
    for (_, rows) in tasks {
        let mut counts: BTreeMap<(usize, Part), usize> = BTreeMap::new();
        let mut kept: Vec<Entry> = Vec::with_capacity(rows.train.len());
        for entry in std::mem::take(&mut rows.train) {
            match held.get(&entry.key) {
                Some(place) => {
                    *counts.entry(*place).or_default() += 1;
                    if policy == OverlapPolicy::Allow {
                        kept.push(entry);
                    }
                }
                None => kept.push(entry),
            }
        }
        rows.train = kept;
        settled.push(note(&counts, &names, policy));
    }
    settled
}

fn note(counts: &BTreeMap<(usize, Part), usize>, names: &[String], policy: OverlapPolicy) -> Option<String> {
    let all: usize = counts.values().sum();
    let places: Vec<String> =
        counts.iter().map(|((task, part), count)| format!("{count} in {}/{}", names[*task], part.name())).collect();
    let (rows, have) = if all == 1 { ("row", "has a text") } else { ("rows", "have texts") };
    let what = match policy {
        OverlapPolicy::Drop => format!("left out of train ([evaluation] overlap = \"allow\" would keep {})", it(all)),
        OverlapPolicy::Allow => "trained on, as [evaluation] overlap = \"allow\" says".to_string(),
    };
    let verb = if all == 1 { "is" } else { "are" };
    (all > 0).then(|| {
        format!("{all} training {rows} {have} of a dev or test split ({}) and {verb} {what}", places.join(", "))
    })
}

fn it(count: usize) -> &'static str {
    if count == 1 { "it" } else { "them" }
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;

    fn rows(train: &[&str], dev: &[&str], test: &[&str]) -> Rows<Entry> {
        let of = |texts: &[&str]| texts.iter().enumerate().map(|(line, text)| entry(text, "x", line)).collect();
        Rows { train: of(train), dev: of(dev), test: of(test) }
    }

    #[test]
    fn texts_held_out_anywhere_are_trained_on_nowhere_unless_allowed() {
        let two =
            || (rows(&["a", "b ", "B", "c"], &["d"], &["e", "b"]), rows(&["D", "e", "f", ""], &["g"], &["h", ""]));
        let (mut one, mut other) = two();
        let notes = settle(&mut [("one", &mut one), ("other", &mut other)], OverlapPolicy::Drop);
        let left = |rows: &Rows<Entry>| rows.train.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>();
        assert_eq!(
            (left(&one), left(&other)),
            (vec!["a".to_string(), "c".into()], vec!["f".to_string(), String::new()])
        );
        let said = notes[0].as_deref().expect("a note");
        assert!(said.starts_with("2 training rows have texts of a dev or test split (2 in one/test) and are left out"));
        let said = notes[1].as_deref().expect("a note");
        assert!(said.contains("(1 in one/dev, 1 in one/test)"), "{said}");

        let (mut one, mut other) = two();
        let notes = settle(&mut [("one", &mut one), ("other", &mut other)], OverlapPolicy::Allow);
        assert_eq!((one.train.len(), other.train.len()), (4, 4));
        assert!(notes.iter().all(|note| note.as_deref().is_some_and(|note| note.contains("trained on, as"))));
    }
}
