//! A member of the registry of generators, and what it writes.

use anyhow::Result;
use serde_json::Value;

use crate::RawExample;

/// A generator, by its name.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorKind {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// What it writes under the other keys of the manifest's `[generator]`, an object: the same every time. Refuses keys
    /// that it does not know.
    pub rows: fn(&Value) -> Result<Generated>,
    /// Every word that it may write under these settings, which an encoder of random weights reads.
    pub vocabulary: fn(&Value) -> Result<Vec<String>>,
}

/// What a generator writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// Rows to train on.
    pub train: Vec<RawExample>,
    /// Rows to choose by; none if they are drawn from `train` as the manifest's `[splits]` says.
    pub dev: Vec<RawExample>,
    /// Rows to report on; none if they are drawn from `train`.
    pub test: Vec<RawExample>,
    /// How many rows of `train` a run takes whose recipe sets no limit, drawn by its data seed; all of them if none.
    pub size: Option<usize>,
    /// The name by which the rows that a run takes are drawn, in place of the dataset's own: of as many rows, datasets of
    /// one such name take the same places.
    pub drawn_as: Option<String>,
    /// The best score that can be expected of any model, where it is known.
    pub ceiling: Option<Ceiling>,
    /// What somebody who trusts the scores ought to know.
    pub notes: Vec<String>,
}

/// The best score that can be expected: what noise in the labels, and words that speak for several, leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// The metric, by its name in the registry of metrics.
    pub metric: &'static str,
    /// Its value, as the metric gives it.
    pub score: f64,
}

impl From<Vec<RawExample>> for Generated {
    /// Rows whose splits are drawn.
    fn from(train: Vec<RawExample>) -> Self {
        Self { train, ..Self::default() }
    }
}
