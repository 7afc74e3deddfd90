//! The planted suite: tasks over invented words whose relatedness and conflict are dials, so that the true sharing
//! structure is known, and so is the best score that can be expected.
//!
//! `preset = "five"`, or neither `preset` nor `graph`, is the suite of five tasks: `five`. Other presets are graphs
//! with a name, and `[[generator.graph]]` is a graph of one's own:
//!
//! ```toml
//! [generator]
//! name = "planted"
//! task = "genre"           # the task of the graph that this dataset is
//! words = 48               # words of a list: the more, the less a few examples tell
//!
//! [[generator.graph]]
//! name = "topic"
//! size = 1000              # rows that a run takes, drawn by its data seed
//!
//! [[generator.graph]]
//! name = "genre"
//! classes = 2
//! size = 20
//! related = { topic = 1.0 }  # share of its cues that are words of `topic`, read as `topic` reads them
//!
//! [[generator.graph]]
//! name = "clash"
//! conflict = { topic = 1.0 } # the same words, read across
//! ```
//!
//! A task without relations reads a list of words of its own. What a task wants of its words is a reading: each one is
//! of one of four classes. Related tasks have the same reading of the same list, conflicting ones another reading of it,
//! which crosses the first evenly; unrelated ones read other lists. A task of two lists may take a function of what they
//! say (`function`), so that what one task is told another has to find out.

mod ceiling;
mod five;
mod function;
mod graph;
mod judged;
mod lexicon;
mod presets;
mod suite;
#[cfg(test)]
mod tests;

use anyhow::Result;
use serde_json::Value;

use super::kind::{Generated, GeneratorKind};
pub use graph::Relation;
use suite::Suite;

/// The member of the registry.
pub const GENERATOR: GeneratorKind = GeneratorKind {
    name: "planted",
    about: "related, conflicting and unrelated tasks over invented words",
    rows,
    vocabulary,
};

/// Cue words a sentence.
const CUES: usize = 4;

/// The preset that is meant where nothing is said.
const FIVE: &str = "five";

/// The settings of the five tasks, where they are meant.
fn five_of(settings: &Value) -> Option<Value> {
    let object = settings.as_object()?;
    let of_preset = match object.get("preset") {
        None => !object.contains_key("graph"),
        Some(preset) => preset == FIVE,
    };
    let rest = || object.iter().filter(|(key, _)| *key != "preset").map(|(key, value)| (key.clone(), value.clone()));
    of_preset.then(|| Value::Object(rest().collect()))
}

fn rows(settings: &Value) -> Result<Generated> {
    match five_of(settings) {
        Some(settings) => five::rows(&settings),
        None => Suite::new(settings)?.rows(),
    }
}

fn vocabulary(settings: &Value) -> Result<Vec<String>> {
    match five_of(settings) {
        Some(_) => Ok(five::vocabulary()),
        None => Ok(Suite::new(settings)?.vocabulary()),
    }
}

/// What is known of tasks of one planted suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// How each task stands to each, `[tasks][tasks]`.
    pub relations: Vec<Vec<Relation>>,
    /// The words that most of each task's cues are from, as a number: the true grouping by what is read.
    pub factors: Vec<u32>,
}

/// What is known of the tasks that the generators' `settings` describe; nothing if they are not of one planted suite.
pub fn truth<'a>(settings: impl IntoIterator<Item = &'a Value>) -> Option<Truth> {
    let settings: Vec<&Value> = settings.into_iter().collect();
    let fives: Vec<Option<Value>> = settings.iter().map(|settings| five_of(settings)).collect();
    if let Some(fives) = fives.iter().cloned().collect::<Option<Vec<Value>>>() {
        return five::truth(&fives);
    }
    if fives.iter().any(Option::is_some) {
        return None;
    }
    let suites = settings.into_iter().map(Suite::new).collect::<Result<Vec<Suite>>>().ok()?;
    if suites.windows(2).any(|pair| matches!(pair, [a, b] if a.identity() != b.identity())) {
        return None;
    }
    let relations = |suite: &Suite| {
        suites.iter().map(|other| graph::relation(suite.readings(), other.readings())).collect::<Vec<_>>()
    };
    let factor = |suite: &Suite| {
        let most = suite.readings().iter().max_by(|a, b| a.share.total_cmp(&b.share));
        most.map_or(0, |reading| reading.list as u32)
    };
    Some(Truth { relations: suites.iter().map(relations).collect(), factors: suites.iter().map(factor).collect() })
}
