//! What was compared, and on what.

use mtl_eval::comparison::Comparison;

use crate::numbers::{NOTHING, score};
use crate::table::{Cell, Table};

/// The tasks.
pub(super) fn tasks(comparison: &Comparison) -> Table {
    let note = "“Baseline”: headline score of always giving the commonest answer.";
    let columns = ["task", "kind", "headline metric", "#train", "#dev", "#test", "#baseline"];
    let mut table = Table::new("tasks", "Tasks", note, &columns);
    for task in &comparison.tasks {
        let mut row = vec![Cell::text(&task.name), Cell::text(&task.kind), Cell::text(&task.headline)];
        row.extend(task.sizes.map(Cell::count));
        row.push(Cell::of(task.trivial, score(task.trivial)));
        table.rows.push(row);
    }
    table
}

/// The arms and what was tuned for them.
pub(super) fn arms(comparison: &Comparison) -> Table {
    let note = "“Tuned”: chosen on dev, each arm within the same budget.";
    let columns = ["arm", "strategy", "rule", "checkpoint", "sampler", "tuned", "role", "control for"];
    let mut table = Table::new("arms", "Arms", note, &columns);
    for result in &comparison.arms {
        let arm = &result.arm;
        let tuned: Vec<String> = arm.tuned.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let mut row = vec![Cell::text(&arm.name)];
        row.extend([&arm.strategy, &arm.rule, &arm.checkpoint, &arm.sampler].map(Cell::text));
        row.push(if tuned.is_empty() { Cell::nothing() } else { Cell::text(tuned.join(", ")) });
        let is_baseline = arm.name == comparison.baseline;
        row.push(Cell::text(if is_baseline { "baseline" } else { arm.role().name() }));
        row.push(Cell::text(arm.control.as_deref().unwrap_or(NOTHING)));
        table.rows.push(row);
    }
    table
}
