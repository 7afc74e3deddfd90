//! What is in the datasets of a recipe, in numbers: sizes, balance, lengths, truncation, duplicates, empty texts.
//!
//! Test splits are counted without being opened: no label of theirs is looked at, and no text leaves.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use mtl_task::Label;
use serde::Serialize;

use crate::{Dataset, Split, Texts, Tokenizer};

/// How the truths of a split are spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// How often each class, label of a set, or tag stands there.
    Counts(BTreeMap<String, usize>),
    /// Smallest, mean and largest number, and the standard deviation.
    Numbers {
        /// The smallest.
        least: f64,
        /// The mean.
        mean: f64,
        /// The largest.
        most: f64,
        /// √(mean squared distance from the mean).
        deviation: f64,
    },
    /// Of a test split: sealed.
    Sealed,
}

/// One split in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitAudit {
    /// Examples.
    pub examples: usize,
    /// Texts with nothing to read.
    pub empty: usize,
    /// Rows that repeat an earlier text of the split.
    pub duplicates: usize,
    /// Shortest, median, 95th percentile and longest text in tokens, special tokens included.
    pub tokens: [usize; 4],
    /// Texts longer than the limit.
    pub truncated: usize,
    /// How the truths are spread.
    pub balance: Balance,
}

/// One dataset in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskAudit {
    /// The task's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Train, dev and test.
    pub splits: Vec<(String, SplitAudit)>,
    /// What loading it found.
    pub notes: Vec<String>,
}

/// Texts that stand in two splits, of one task or of two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overlap {
    /// Task and split.
    pub one: (String, String),
    /// Task and split.
    pub other: (String, String),
    /// Distinct texts that both have.
    pub texts: usize,
}

/// The datasets of a recipe in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Task by task.
    pub tasks: Vec<TaskAudit>,
    /// Splits that share texts, in the order of the tasks.
    pub overlaps: Vec<Overlap>,
}

impl Audit {
    /// Overlaps that let a score lie: a text to learn from, or to choose by, that is also one to report on.
    pub fn leaks(&self) -> impl Iterator<Item = &Overlap> {
        self.overlaps.iter().filter(|overlap| overlap.one.1 != overlap.other.1)
    }
}

/// Looks through `datasets`; texts longer than `max_tokens` count as truncated.
///
/// # Errors
/// If a text cannot be tokenised.
pub fn audit(datasets: &[Dataset], tokenizer: &Tokenizer, max_tokens: usize) -> Result<Audit> {
    let mut tasks = Vec::new();
    let mut texts: Vec<((String, String), HashSet<String>)> = Vec::new();
    for dataset in datasets {
        let mut splits = Vec::new();
        for (name, split) in [("train", &dataset.train), ("dev", &dataset.dev), ("test", dataset.test.counted())] {
            let balance = if name == "test" { Balance::Sealed } else { balance(split, dataset.task.names()) };
            splits.push((name.to_string(), split_audit(split, balance, tokenizer, max_tokens)?));
            let distinct = split.texts.iter().filter(|text| !text.is_empty()).map(Texts::normalised).collect();
            texts.push(((dataset.name.clone(), name.to_string()), distinct));
        }
        let (name, kind) = (dataset.name.clone(), dataset.spec.kind.clone());
        tasks.push(TaskAudit { name, kind, splits, notes: dataset.notes.clone() });
    }
    let mut overlaps = Vec::new();
    for (at, (one, ours)) in texts.iter().enumerate() {
        for (other, theirs) in texts.iter().skip(at + 1) {
            let common = ours.intersection(theirs).count();
            if common > 0 {
                overlaps.push(Overlap { one: one.clone(), other: other.clone(), texts: common });
            }
        }
    }
    Ok(Audit { tasks, overlaps })
}

fn split_audit(split: &Split, balance: Balance, tokenizer: &Tokenizer, max_tokens: usize) -> Result<SplitAudit> {
    let mut seen = HashSet::new();
    let mut lengths = Vec::with_capacity(split.texts.len());
    for text in &split.texts {
        seen.insert(text.normalised());
        lengths.push(tokenizer.encode(text, usize::MAX)?.ids.len());
    }
    lengths.sort_unstable();
    let at = |share: f64| lengths.get(((lengths.len() as f64 * share) as usize).min(lengths.len().max(1) - 1));
    Ok(SplitAudit {
        examples: split.examples.len(),
        empty: split.texts.iter().filter(|text| text.is_empty()).count(),
        duplicates: split.texts.len() - seen.len(),
        tokens: [0., 0.5, 0.95, 1.].map(|share| at(share).copied().unwrap_or(0)),
        truncated: lengths.iter().filter(|&&length| length > max_tokens).count(),
        balance,
    })
}

fn balance(split: &Split, names: &[String]) -> Balance {
    let mut counts: BTreeMap<String, usize> = names.iter().map(|name| (name.clone(), 0)).collect();
    let mut count = |index: usize| {
        if let Some(name) = names.get(index) {
            *counts.entry(name.clone()).or_default() += 1;
        }
    };
    let mut numbers = Vec::new();
    for example in &split.examples {
        match &example.label {
            Label::Class(class) => count(*class as usize),
            Label::Set(set) => set.iter().enumerate().filter(|(_, holds)| **holds).for_each(|(index, _)| count(index)),
            Label::Tags(tags) => tags.iter().for_each(|&tag| count(tag as usize)),
            Label::Value(value) => numbers.push(f64::from(*value)),
        }
    }
    if numbers.is_empty() {
        return Balance::Counts(counts);
    }
    let share = 1. / numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() * share;
    Balance::Numbers {
        least: numbers.iter().copied().fold(f64::INFINITY, f64::min),
        mean,
        most: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        deviation: (numbers.iter().map(|value| (value - mean).powi(2)).sum::<f64>() * share).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{DatasetManifest, Generator};
    use crate::{DataRegistries, LoadOptions, load};
    use std::path::Path;

    fn dataset(name: &str, task: &str, seed: u64) -> Result<(Dataset, Generator)> {
        let manifest: DatasetManifest = toml::from_str(&format!(
            "about = \"a test\"\nlicence = \"none\"\n[task]\nkind = \"{}\"\n[generator]\nname = \"planted\"\n\
             task = \"{task}\"\nexamples = 300\nseed = {seed}\n",
            if task == "mood" { "regression" } else { "classification" }
        ))?;
        let registries = DataRegistries::default();
        let generator = manifest.generator.clone().expect("generated");
        let tokenizer = Tokenizer::generated(&registries.generators, [&generator], false)?;
        Ok((load(&registries, name, &manifest, Path::new("."), &tokenizer, &LoadOptions::default())?, generator))
    }

    #[test]
    fn what_is_shared_by_two_tasks_is_found_and_test_labels_stay_sealed() -> Result<()> {
        let registries = DataRegistries::default();
        let (one, generator) = dataset("one", "topic", 0)?;
        let (same, _) = dataset("same", "topic", 0)?;
        let (mood, _) = dataset("mood", "mood", 0)?;
        let audit = audit(&[one, same, mood], &Tokenizer::generated(&registries.generators, [&generator], false)?, 8)?;
        let train = &audit.tasks[0].splits[0].1;
        assert!(train.examples > 200 && train.truncated > 0 && train.tokens[0] <= train.tokens[3], "{train:?}");
        let Balance::Counts(counts) = &train.balance else { panic!("classes are counted") };
        assert_eq!(counts.len(), 4);
        assert_eq!(counts.values().sum::<usize>(), train.examples);
        assert!(matches!(audit.tasks[2].splits[0].1.balance, Balance::Numbers { least, most, .. } if least < most));
        assert_eq!(audit.tasks[0].splits[2].1.balance, Balance::Sealed);
        let whole = audit.overlaps.iter().find(|o| o.one == ("one".into(), "train".into()) && o.other.0 == "same");
        assert!(whole.is_some_and(|overlap| overlap.texts + train.duplicates >= train.examples));
        assert!(audit.leaks().all(|overlap| overlap.one.1 != overlap.other.1));
        Ok(())
    }
}
