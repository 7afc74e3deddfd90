//! Every table of the report, made once and shown by the page and by the Markdown alike.

mod cost;
mod facts;
mod gains;
mod scores;
mod statistics;
mod training;

use mtl_eval::comparison::{ArmResult, ArmTask, Comparison};
use serde::Serialize;

use crate::table::Table;

pub(crate) use scores::{best, title};
pub(crate) use training::broken;

/// The tables, by the chapter that they stand in.
#[derive(Serialize)]
pub(crate) struct Tables {
    /// What each arm scores, and what it gains over the baseline.
    pub(crate) results: Vec<Table>,
    /// Every test beside what it could have found.
    pub(crate) statistics: Vec<Table>,
    /// Overfitting and instability.
    pub(crate) training: Vec<Table>,
    /// Parameters, time, energy's stand-ins.
    pub(crate) cost: Vec<Table>,
    /// What was compared on what, and every number behind the means.
    pub(crate) details: Vec<Table>,
}

/// Makes them; a table that would have no row is left out.
pub(crate) fn tables(comparison: &Comparison) -> Tables {
    let kept = |tables: Vec<Table>| tables.into_iter().filter(|table| !table.rows.is_empty()).collect();
    Tables {
        results: kept(vec![
            scores::scores(comparison),
            gains::gains(comparison),
            gains::transfer(comparison),
            gains::headroom(comparison),
        ]),
        statistics: kept(vec![statistics::tests(comparison), statistics::pairs(comparison)]),
        training: kept(vec![training::overfitting(comparison), training::stability(comparison)]),
        cost: kept(vec![cost::parameters(comparison), cost::time(comparison)]),
        details: kept(vec![
            facts::tasks(comparison),
            facts::arms(comparison),
            scores::seeds(comparison),
            scores::metrics(comparison),
        ]),
    }
}

/// Where the scores were taken.
pub(crate) fn split(comparison: &Comparison) -> &'static str {
    if comparison.test_opened_at.is_some() { "test" } else { "dev" }
}

/// Whether an arm is the one that the others are compared with.
fn is_baseline(comparison: &Comparison, arm: &ArmResult) -> bool {
    arm.arm.name == comparison.baseline
}

/// Every arm on every task, arm by arm, with the task's place.
fn cells(comparison: &Comparison) -> impl Iterator<Item = (&ArmResult, usize, &ArmTask)> {
    let of = |arm: &'_ ArmResult| arm.tasks.len().min(comparison.tasks.len());
    comparison.arms.iter().flat_map(move |arm| (0..of(arm)).map(move |task| (arm, task, &arm.tasks[task])))
}
