//! A first guess at what files of labelled text hold, for people who have not described them yet.
//!
//! Nothing is trained on a guess alone: it becomes a manifest that is read, corrected and kept. What the guess rests on
//! is said in [`Guess::notes`], and where nothing fits, that is an error that says how to describe the file by hand.

mod columns;
mod header;
mod indicators;
mod profile;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_task::Registry;

use crate::manifest::ReaderSpec;
use crate::reader::{self, Reader, Record};

pub use columns::{LabelGuess, TextGuess};

/// Files that are one dataset: either all of it, or its splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What the dataset may be called.
    pub name: String,
    /// The files, and the split that each is by its name; none where it is all.
    pub files: Vec<(PathBuf, Option<&'static str>)>,
}

/// What a group of files seems to hold.
#[derive(Clone, Debug)]
pub struct Guess {
    /// How the files are read: what their endings do not say.
    pub reader: ReaderSpec,
    /// What is read.
    pub text: TextGuess,
    /// The truths that stand beside it, the likeliest first.
    pub labels: Vec<LabelGuess>,
    /// Rows in all.
    pub rows: usize,
    /// 95 % of the texts have at most so many words.
    pub words: usize,
    /// What the guess rests on, in sentences.
    pub notes: Vec<String>,
}

/// Names that files of a split end with.
const SPLITS: &[(&str, &[&str])] = &[
    ("dev", &["dev", "val", "valid", "validation", "testa"]),
    ("test", &["test", "testb", "eval"]),
    ("train", &["train", "training"]),
];

/// Divides `files` into datasets: `train`, `dev` and `test` files of one folder and stem belong together.
///
/// # Errors
/// If a file is named twice, or two are the same split of one dataset.
pub fn groups(files: &[PathBuf]) -> Result<Vec<Group>> {
    let mut groups: Vec<(Option<PathBuf>, Group)> = Vec::new();
    for path in files {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("data");
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let Some((base, split)) = split_of(stem) else {
            groups.push((None, Group { name: plain(stem), files: vec![(path.clone(), None)] }));
            continue;
        };
        let name = match base.is_empty() {
            false => plain(base),
            true => std::path::absolute(Path::new(".").join(&folder))?
                .file_name()
                .and_then(|name| name.to_str())
                .map_or("data".into(), plain),
        };
        let key = folder.join(base);
        let file = (path.clone(), Some(split));
        let Some((_, group)) = groups.iter_mut().find(|(known, _)| known.as_ref() == Some(&key)) else {
            groups.push((Some(key), Group { name, files: vec![file] }));
            continue;
        };
        if let Some((other, _)) = group.files.iter().find(|(_, known)| *known == Some(split)) {
            bail!("{} and {} both look like the {split} split; name one of them", other.display(), path.display());
        }
        group.files.push(file);
    }
    let mut groups: Vec<Group> = groups.into_iter().map(|(_, group)| group).collect();
    for group in &mut groups {
        // A test set alone is not something to train on: it is a file like any other.
        if let [(_, split)] = &mut group.files[..]
            && *split != Some("train")
        {
            *split = None;
        }
    }
    let mut taken: Vec<String> = Vec::new();
    for group in &mut groups {
        let name = group.name.clone();
        let free = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
        group.name = free.into_iter().find(|name| !taken.contains(name)).unwrap_or(name);
        taken.push(group.name.clone());
    }
    Ok(groups)
}

/// What a stem is called without the name of a split at its end, and the split.
fn split_of(stem: &str) -> Option<(&str, &'static str)> {
    let (base, last) = match stem.rsplit_once(['-', '_', '.']) {
        Some(parts) => parts,
        None => ("", stem),
    };
    let last = last.to_lowercase();
    SPLITS.iter().find(|(_, names)| names.contains(&last.as_str())).map(|(split, _)| (base, *split))
}

/// A name for a task: letters, digits and hyphens.
fn plain(stem: &str) -> String {
    let name: String =
        stem.to_lowercase().chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if name.is_empty() { "data".into() } else { name }
}

/// What `group` seems to hold, read by `readers`; `spec` is what is known of how its files are read, such as their encoding.
///
/// # Errors
/// If a file cannot be read, or holds no text with a label that could be told: says which columns there are.
pub fn guess(readers: &Registry<Reader>, group: &Group, spec: &ReaderSpec) -> Result<Guess> {
    let mut notes = Vec::new();
    let (first, _) = group.files.first().context("a dataset without files")?;
    let reader = header::reader(readers, first, spec, &mut notes)?;
    let mut records: Vec<Record> = Vec::new();
    for (path, _) in &group.files {
        records.extend(reader::read(readers, path, &reader)?);
    }
    let columns = columns::guess(&records, &mut notes).with_context(|| first.display().to_string())?;
    Ok(Guess { reader, text: columns.text, labels: columns.labels, rows: records.len(), words: columns.words, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[&str]) -> Result<Vec<Group>> {
        groups(&files.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn files_of_splits_are_one_dataset() {
        let found =
            of(&["a/mood-train.tsv", "b.csv", "a/mood-test.tsv", "a/mood.dev.tsv", "c/train.conll"]).expect("grouped");
        let names: Vec<(&str, usize)> = found.iter().map(|group| (group.name.as_str(), group.files.len())).collect();
        assert_eq!(names, [("mood", 3), ("b", 1), ("c", 1)]);
        assert_eq!(found[0].files[1].1, Some("test"));
        let error = of(&["x-dev.csv", "x-val.csv"]).expect_err("twice").to_string();
        assert!(error.contains("both look like the dev split"), "{error}");
    }

    #[test]
    fn names_are_plain_and_never_alike() {
        let found = of(&["My Data (1).csv", "my data 1.tsv", "test.csv"]).expect("grouped");
        let names: Vec<&str> = found.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names[..2], ["my-data-1", "my-data-1-2"]);
        assert_eq!(found[2].files[0].1, None, "a test set alone is all there is");
    }
}
