//! Scores, gains and transfer.

use std::collections::BTreeSet;

use mtl_eval::comparison::{ArmResult, ArmSpec, Comparison, Role};
use mtl_eval::stats::{self, Interval};

use super::{cells, split};
use crate::numbers::{NOTHING, ends, score};
use crate::table::{Cell, Column, Table};

/// Mean headline scores, arms by tasks.
pub(super) fn scores(comparison: &Comparison) -> Table {
    let note = format!(
        "Mean over {} ± standard deviation over seeds, on {}; higher is better. The candidates' best mean of each task is bold, \
         whether or not it differs from the others by more than chance. ▲ and ▼: better or worse than {} at level {} \
         (paired bootstrap over examples × seeds, Holm's correction over the arm's tasks). The last row is the trivial \
         answer's score.",
        over_seeds(comparison),
        split(comparison),
        comparison.baseline,
        comparison.level,
    );
    let mut table = Table::new("scores", "Scores", note, &["arm"]);
    let head =
        |task: &mtl_eval::comparison::TaskFacts| Column::of_numbers(format!("{} ({})", task.name, task.headline));
    table.columns.extend(comparison.tasks.iter().map(head));
    for arm in &comparison.arms {
        let mut row = vec![named(arm)];
        for index in 0..comparison.tasks.len() {
            let task = arm.tasks.get(index);
            let cell = Cell::maybe(task.and_then(|task| task.mean), |mean| {
                let deviation = task.and_then(|task| task.deviation);
                let spread = deviation.map_or(String::new(), |deviation| format!(" ± {}", score(deviation)));
                format!("{}{spread}{}", score(mean), mark(comparison, arm, index))
            });
            row.push(cell.strong_if(best(comparison, arm, index)));
        }
        table.rows.push(row);
    }
    if !comparison.arms.is_empty() {
        let trivial = comparison.tasks.iter().map(|task| Cell::of(task.trivial, score(task.trivial)));
        table.rows.push(std::iter::once(Cell::text("(baseline)")).chain(trivial).collect());
    }
    table
}

/// Whether no other candidate has a higher mean on a task; means that tie share the first place.
pub(crate) fn best(comparison: &Comparison, arm: &ArmResult, task: usize) -> bool {
    let mean = |arm: &ArmResult| arm.tasks.get(task).and_then(|task| task.mean).filter(|mean| mean.is_finite());
    let rivals = comparison.arms.iter().filter(|arm| arm.arm.is_candidate()).filter_map(mean);
    let highest = rivals.fold(f64::NEG_INFINITY, f64::max);
    arm.arm.is_candidate() && mean(arm).is_some_and(|mean| mean >= highest || stats::ties(mean, highest))
}

fn mark(comparison: &Comparison, arm: &ArmResult, task: usize) -> &'static str {
    match comparison.mark(arm, task) {
        Some(true) => " ▲",
        Some(false) => " ▼",
        None => "",
    }
}

/// Which seeds means are over.
fn over_seeds(comparison: &Comparison) -> String {
    if comparison.common.is_empty() || comparison.common.len() == comparison.seeds.len() {
        return "seeds".to_string();
    }
    format!("the {} seeds that every ranked arm finished", comparison.common.len())
}

/// Every seed's headline score.
pub(super) fn seeds(comparison: &Comparison) -> Table {
    let note = format!("Headline score on {} of every run; {NOTHING} where the run broke.", split(comparison));
    let mut table = Table::new("seeds", "Score of every run", note, &["arm", "task"]);
    table.columns.extend(comparison.seeds.iter().map(|seed| Column::of_numbers(format!("seed {seed}"))));
    for (arm, index, task) in cells(comparison) {
        let mut row = vec![named(arm), Cell::text(&comparison.tasks[index].name)];
        let seed = |index: usize| task.scores.get(index).copied().flatten();
        row.extend((0..comparison.seeds.len()).map(|index| Cell::maybe(seed(index), |value| format!("{value:.4}"))));
        table.rows.push(row);
    }
    table
}

/// Every metric's mean.
pub(super) fn metrics(comparison: &Comparison) -> Table {
    let note = format!("Mean over seeds on {}. Higher is better unless the metric is an error.", split(comparison));
    let mut table = Table::new("metrics", "Every metric", note, &["task", "metric", "better"]);
    table.columns.extend(comparison.arms.iter().map(|arm| Column::of_numbers(arm.arm.name.clone())));
    for (index, facts) in comparison.tasks.iter().enumerate() {
        let of = |arm: &'_ ArmResult| arm.tasks.get(index).map(|task| task.metrics.clone()).unwrap_or_default();
        let names: BTreeSet<String> = comparison.arms.iter().flat_map(|arm| of(arm).into_keys()).collect();
        for name in names {
            let lower = comparison.lower_is_better.contains(&name);
            let mut row =
                vec![Cell::text(&facts.name), Cell::text(&name), Cell::text(if lower { "lower" } else { "higher" })];
            row.extend(comparison.arms.iter().map(|arm| Cell::maybe(of(arm).get(&name).copied(), score)));
            table.rows.push(row);
        }
    }
    table
}

/// An arm's name; a control says so.
pub(super) fn named(arm: &ArmResult) -> Cell {
    Cell::text(title(&arm.arm))
}

/// An arm's name, and what it is where the name does not say so itself.
pub(crate) fn title(arm: &ArmSpec) -> String {
    match (&arm.control, arm.role()) {
        (Some(control), role) if arm.name.contains(control) => format!("{}, {}", arm.name, role.name()),
        (Some(control), role) => format!("{} ({}: {control})", arm.name, role.name()),
        (None, Role::Candidate) => arm.name.clone(),
        (None, role) if arm.name.contains(role.name()) => arm.name.clone(),
        (None, role) => format!("{} ({})", arm.name, role.name()),
    }
}

pub(super) fn interval(interval: Option<&Interval>, digits: usize) -> Cell {
    interval.map_or_else(Cell::nothing, |found| Cell::of(found.low, ends(found, digits)))
}
