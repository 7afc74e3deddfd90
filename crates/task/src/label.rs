//! Truths and answers.

use serde::{Deserialize, Serialize};

/// One example's truth, or what a model answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Index of the class.
    Class(u32),
    /// A real number.
    Value(f32),
    /// For each label of the set, whether it holds.
    Set(Vec<bool>),
    /// Index of the tag of each word.
    Tags(Vec<u32>),
}

/// A model's answer and how sure it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What it answers.
    pub label: Label,
    /// Class probabilities; for sets one probability per label; for tags the probability of each word's tag;
    /// empty for values.
    pub scores: Vec<f32>,
}

/// One field of a row as a reader found it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A list of texts (tokens, tags, a label set).
    Many(Vec<String>),
}

/// What a task's head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// One vector per text.
    Text,
    /// One vector per word: the state of its first sub-token.
    Tokens,
}

/// The noise model behind a loss; uncertainty weighting needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likelihood {
    /// Squared error.
    Gaussian,
    /// Cross entropy.
    Categorical,
}

/// A task's place in the recipe's list of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub usize);

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps done before this one.
    pub step: usize,
    /// Steps in all.
    pub of: usize,
}

impl Progress {
    /// Share of the steps that are done, in [0, 1].
    pub fn fraction(self) -> f64 {
        if self.of == 0 { 1.0 } else { (self.step as f64 / self.of as f64).min(1.0) }
    }
}
