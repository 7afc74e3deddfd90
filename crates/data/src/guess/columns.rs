//! Which columns are read, and which are the truth.

use anyhow::{Result, bail};

use super::indicators;
use super::profile::Profile;
use crate::reader::Record;

/// The columns that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextGuess {
    /// One text.
    One(String),
    /// A pair of texts.
    Pair(String, String),
    /// The words of a sentence.
    Tokens(String),
}

/// A column that may be a truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelGuess {
    /// Its name.
    pub column: String,
    /// The task kind that it fits.
    pub kind: &'static str,
    /// What stands between the labels of a set.
    pub separator: Option<&'static str>,
    /// How many rows have none.
    pub missing: usize,
    /// What it holds, in words.
    pub about: String,
    /// The columns of 0 and 1 that it is made of; none if it is a column itself.
    pub indicators: Vec<String>,
}

pub(super) struct Columns {
    pub(super) text: TextGuess,
    pub(super) labels: Vec<LabelGuess>,
    pub(super) words: usize,
}

/// The most columns that are taken for labels.
const MOST: usize = 6;

/// Columns that are pairs by their names.
const PAIRS: &[(&str, &str)] = &[
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "answer"),
    ("question", "passage"),
    ("question", "context"),
    ("query", "document"),
    ("query", "passage"),
    ("claim", "evidence"),
    ("s1", "s2"),
];

/// Names that texts have, the likeliest first.
const TEXTS: &[&str] =
    &["text", "sentence", "body", "content", "message", "review", "tweet", "document", "utterance", "question"];

/// Names that truths have, the likeliest first.
const LABELS: &[&str] = &[
    "label",
    "labels",
    "class",
    "classes",
    "category",
    "categories",
    "target",
    "tag",
    "tags",
    "y",
    "gold",
    "intent",
    "topic",
    "sentiment",
    "emotion",
    "score",
    "rating",
    "stars",
    "similarity",
    "genre",
];

/// Names that words of a sentence have.
const TOKENS: &[&str] = &["tokens", "words", "token", "word", "form"];

/// Names that tags of words have, the likeliest first.
const TAGS: &[&str] = &["ner_tags", "ner", "tags", "labels", "slots", "pos_tags", "pos", "upos", "chunk", "xpos"];

/// So many columns are looked at.
const MOST_COLUMNS: usize = 1000;

/// Refuses more columns than anybody could choose from.
pub(super) fn few(columns: usize) -> Result<()> {
    if columns > MOST_COLUMNS {
        bail!(
            "{columns} columns; at most {MOST_COLUMNS} are looked at, so describe the file by hand: README, \"Your own \
             data\""
        );
    }
    Ok(())
}

pub(super) fn guess(records: &[Record], notes: &mut Vec<String>) -> Result<Columns> {
    let Some(first) = records.first() else { bail!("no row") };
    few(first.columns.len())?;
    let profiles: Vec<Profile> = Profile::all(records);
    if let Some(found) = tagging(&profiles) {
        return Ok(found);
    }
    let texts: Vec<&Profile> = profiles.iter().filter(|profile| profile.is_text() && !profile.is_name()).collect();
    let text = text(&texts, notes);
    let Some(text) = text else {
        bail!(
            "no column looks like a text ({}); describe the file by hand: README, \"Your own data\"",
            described(&profiles)
        )
    };
    let read = |name: &str| match &text {
        TextGuess::One(column) | TextGuess::Tokens(column) => name == column,
        TextGuess::Pair(a, b) => name == a || name == b,
    };
    let mut rest: Vec<&Profile> = profiles.iter().filter(|profile| !read(profile.name) && !profile.is_name()).collect();
    let named = |name: &str| LABELS.iter().position(|known| *known == name.to_lowercase());
    // Beside a column that is called a label, those of 0 and 1 may be anything.
    let set = match rest.iter().any(|profile| named(profile.name).is_some() && label(profile).is_some()) {
        true => None,
        false => indicators::taken(&mut rest, notes),
    };
    let mut labels: Vec<LabelGuess> = rest.into_iter().filter_map(label).chain(set).collect();
    if labels.is_empty() {
        bail!(
            "no column looks like a label ({}); a class is said again and again, a value is a number, labels of a set \
             stand between `|`, `;` or `,`; describe the file by hand: README, \"Your own data\"",
            described(&profiles)
        );
    }
    let rank = |label: &LabelGuess| match label.indicators.is_empty() {
        true => named(&label.column).unwrap_or(LABELS.len()),
        false => LABELS.len(),
    };
    labels.sort_by_key(rank);
    // A column that is called a label is one; what else repeats itself may be anything.
    let named = labels.iter().filter(|label| rank(label) < LABELS.len()).count();
    if named > 0 && named < labels.len() {
        let others: Vec<String> = labels.iter().skip(named).map(|label| format!("`{}`", label.column)).collect();
        notes.push(format!("{} could be labels too, and are left out", others.join(", ")));
        labels.truncate(named);
    }
    if labels.len() > MOST {
        let others: Vec<String> = labels.iter().skip(MOST).map(|label| format!("`{}`", label.column)).collect();
        notes.push(format!("{} could be labels too, and are left out", others.join(", ")));
        labels.truncate(MOST);
    }
    let columns: Vec<&str> = match &text {
        TextGuess::One(column) | TextGuess::Tokens(column) => vec![column],
        TextGuess::Pair(a, b) => vec![a, b],
    };
    let mut lengths = vec![0; records.len()];
    for profile in profiles.iter().filter(|profile| columns.contains(&profile.name)) {
        lengths.iter_mut().zip(&profile.texts).for_each(|(sum, text)| *sum += text.split_whitespace().count());
    }
    Ok(Columns { words: most(lengths), text, labels })
}

/// What 95 % of `lengths` do not exceed.
fn most(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    lengths.get((lengths.len() * 95 / 100).min(lengths.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Words with a tag each.
fn tagging(profiles: &[Profile]) -> Option<Columns> {
    let lists: Vec<&Profile> =
        profiles.iter().filter(|profile| !profile.lists.is_empty() && profile.texts.is_empty()).collect();
    let called = |names: &[&str], profile: &Profile| names.iter().position(|name| *name == profile.name.to_lowercase());
    // By its name, else the first column that is more than numbers, as in CoNLL files.
    let numbered =
        |profile: &Profile| profile.lists.iter().flat_map(|list| list.iter()).all(|word| word.parse::<f64>().is_ok());
    let words = lists
        .iter()
        .find(|profile| called(TOKENS, profile).is_some())
        .or_else(|| lists.iter().find(|profile| !numbered(profile)))?;
    let fits = |profile: &&&Profile| {
        profile.name != words.name
            && profile.lists.len() == words.lists.len()
            && profile.lists.iter().zip(&words.lists).all(|(tags, words)| tags.len() == words.len())
    };
    let distinct = |profile: &Profile| {
        let mut tags: Vec<&String> = profile.lists.iter().flat_map(|list| list.iter()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags.len()
    };
    let mut tags: Vec<(&Profile, usize)> =
        lists.iter().filter(fits).map(|profile| (*profile, distinct(profile))).collect();
    tags.retain(|(_, count)| (2..=200).contains(count));
    // By their names, else the last column, where CoNLL files have what is to be learnt.
    tags.reverse();
    tags.sort_by_key(|(profile, _)| called(TAGS, profile).unwrap_or(TAGS.len()));
    tags.truncate(MOST);
    let label = |(profile, count): &(&Profile, usize)| LabelGuess {
        column: profile.name.to_string(),
        kind: "tagging",
        separator: None,
        missing: 0,
        about: format!("{count} tags"),
        indicators: Vec::new(),
    };
    (!tags.is_empty()).then(|| Columns {
        text: TextGuess::Tokens(words.name.to_string()),
        labels: tags.iter().map(label).collect(),
        words: most(words.lists.iter().map(|list| list.len()).collect()),
    })
}

/// What is read, of the columns that could be.
fn text(texts: &[&Profile], notes: &mut Vec<String>) -> Option<TextGuess> {
    let named = |name: &str| texts.iter().find(|profile| profile.name.to_lowercase() == name);
    for (a, b) in PAIRS {
        if let (Some(a), Some(b)) = (named(a), named(b)) {
            return Some(TextGuess::Pair(a.name.into(), b.name.into()));
        }
    }
    // By its name, else the one with the most words.
    let by_name = TEXTS.iter().find_map(|name| named(name));
    let longest = || texts.iter().max_by(|a, b| a.words.total_cmp(&b.words));
    let found = by_name.or_else(longest)?;
    let others: Vec<String> = texts
        .iter()
        .filter(|profile| profile.name != found.name)
        .map(|profile| format!("`{}`", profile.name))
        .collect();
    if !others.is_empty() {
        notes.push(format!(
            "{} could be read too; for a pair of texts, write text_a and text_b in place of text",
            others.join(", ")
        ));
    }
    Some(TextGuess::One(found.name.into()))
}

/// What truth a column may be.
fn label(profile: &Profile) -> Option<LabelGuess> {
    let guess = |kind, separator, about| {
        Some(LabelGuess {
            column: profile.name.to_string(),
            kind,
            separator,
            missing: profile.rows - profile.texts.len() - profile.lists.len(),
            about,
            indicators: Vec::new(),
        })
    };
    if !profile.lists.is_empty() && profile.texts.is_empty() {
        let mut labels: Vec<&String> = profile.lists.iter().flat_map(|list| list.iter()).collect();
        labels.sort_unstable();
        labels.dedup();
        let few = (2..=500).contains(&labels.len());
        return few.then(|| guess("multilabel", None, format!("lists of {} labels", labels.len())))?;
    }
    if profile.is_value() {
        return guess("regression", None, format!("{} different numbers", profile.counts.len()));
    }
    if let Some(separator) = profile.separator() {
        return guess("multilabel", Some(separator), format!("sets of labels between `{separator}`"));
    }
    if profile.is_class() {
        let names: Vec<&str> = profile.counts.keys().copied().take(6).collect();
        let more = if profile.counts.len() > names.len() { ", …" } else { "" };
        return guess("classification", None, format!("{} classes ({}{more})", profile.counts.len(), names.join(", ")));
    }
    None
}

fn described(profiles: &[Profile]) -> String {
    let mut described: Vec<String> = profiles
        .iter()
        .take(12)
        .map(|profile| match profile.lists.is_empty() {
            true => format!("`{}`: {} different values in {} rows", profile.name, profile.counts.len(), profile.rows),
            false => format!("`{}`: lists", profile.name),
        })
        .collect();
    if profiles.len() > 12 {
        described.push("…".into());
    }
    described.join("; ")
}
