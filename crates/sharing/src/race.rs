//! Races: several ways to go on are tried from the same state and on the same batches, and training goes on from the one
//! that a strategy takes. Whoever trains runs them ([`Racing`] says what the strategy provides), and charges them.

use std::collections::BTreeMap;

use candle_core::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Budget, Change, DevScores};

/// One of the ways to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// What it is called in reports.
    pub name: String,
    /// What it changes, as the strategy knows it.
    pub change: Value,
}

/// A race that a strategy asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// The arms; the first one goes on as things are.
    pub arms: Vec<Arm>,
    /// After how many steps the arms are compared, rising; after the last number the race is over.
    pub looks: Vec<usize>,
    /// The most dev examples of each task that they are compared on.
    pub held_out: usize,
}

impl Race {
    /// Steps of an arm that is not dropped.
    pub fn steps(&self) -> usize {
        self.looks.last().copied().unwrap_or(0)
    }
}

/// The arms' losses when they are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standings {
    /// Steps into the race.
    pub steps: usize,
    /// Of each arm that still runs, by its place in [`Race::arms`]: the loss of every dev example, task by task. The same
    /// examples for each; an arm whose training diverged has none.
    pub losses: BTreeMap<usize, Vec<Vec<f64>>>,
}

/// What a strategy makes of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruling {
    /// The arms that run on; at the last look the one that training goes on from.
    pub keep: Vec<usize>,
    /// The figures that it was decided by.
    pub record: Value,
}

/// A strategy that tries before it changes. Between two steps it is asked for a race; whoever trains takes the model back to
/// the state before for each arm (parameters, moments, states of rules and of the strategy).
pub trait Racing {
    /// The race to be run before the next step, if there is one. Asked again until [`Racing::conclude`] was called.
    ///
    /// # Errors
    /// Those of candle.
    fn due(&self, budget: &Budget) -> Result<Option<Race>>;

    /// Makes the model what `arm` is. Returns how many dev examples it scored.
    ///
    /// # Errors
    /// Those of candle and of the scores.
    fn set_off(&mut self, race: &Race, arm: usize, change: &mut Change, held_out: &mut dyn DevScores) -> Result<usize>;

    /// Says who runs on.
    ///
    /// # Errors
    /// If there is nothing to compare.
    fn judge(&self, race: &Race, standings: &Standings) -> Result<Ruling>;

    /// The race is over, `rulings` were made, and the model is what its winner came to; `charged` steps were paid for the
    /// others and for scoring. Returns what the metrics are to tell of it.
    ///
    /// # Errors
    /// Those of candle.
    fn conclude(&mut self, race: &Race, rulings: &[Ruling], charged: usize, budget: &Budget) -> Result<Value>;
}
