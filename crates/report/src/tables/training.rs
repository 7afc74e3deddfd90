//! How training went: overfitting and instability.

use mtl_eval::comparison::Comparison;

use super::scores::named;
use super::{cells, split};
use crate::numbers::{counted, score, signed};
use crate::table::{Cell, Table};

/// Gap and overfitting, arm by task.
pub(super) fn overfitting(comparison: &Comparison) -> Table {
    let note = "Of the mean curve over seeds. “Gap”: score on training examples − score on dev at the end; smaller is \
                better. “Lost”: best − last dev score. “Index”: growth of the gap since the best dev score; 0 means no \
                overfitting was seen.";
    let columns = ["arm", "task", "#gap", "#best step", "#gap at best", "#lost", "#index"];
    let mut table = Table::new("overfitting", "Overfitting", note, &columns);
    for (arm, index, task) in cells(comparison) {
        if task.gap.is_none() && task.overfitting.is_none() {
            continue;
        }
        let found = task.overfitting.as_ref();
        table.rows.push(vec![
            named(arm),
            Cell::text(&comparison.tasks[index].name),
            Cell::maybe(task.gap, |gap| signed(gap, 3)),
            found.map_or_else(Cell::nothing, |found| Cell::count(found.best_step)),
            Cell::maybe(found.map(|found| found.gap_at_best), |gap| signed(gap, 3)),
            Cell::maybe(found.map(|found| found.lost), score),
            Cell::maybe(found.map(|found| found.index), score),
        ]);
    }
    table
}

/// Spread, volatility, and what broke.
pub(super) fn stability(comparison: &Comparison) -> Table {
    let note = format!(
        "“Spread”: standard deviation over seeds of the score on {}, mean over tasks. “Volatility”: root mean square \
         step over mean size of the series; lower is calmer. “Diverged”: how often a loss ran away, over all runs. \
         “Outcomes”: how the rule's decisions ended.",
        split(comparison)
    );
    let columns =
        ["arm", "#finished", "#broken", "#spread", "#loss volatility", "#αᵢ volatility", "#diverged", "outcomes"];
    let mut table = Table::new("stability", "Instability", note, &columns);
    for arm in &comparison.arms {
        let spreads: Vec<f64> = arm.tasks.iter().filter_map(|task| task.deviation).collect();
        let spread = (!spreads.is_empty()).then(|| spreads.iter().sum::<f64>() / spreads.len() as f64);
        let outcomes: Vec<String> = arm.outcomes.iter().map(|(name, count)| format!("{name} {count}")).collect();
        table.rows.push(vec![
            named(arm),
            Cell::count(arm.finished),
            Cell::count(arm.broken.len()),
            Cell::maybe(spread, |spread| format!("{spread:.4}")),
            Cell::maybe(arm.loss_volatility, score),
            Cell::maybe(arm.weight_volatility, score),
            Cell::count(arm.divergences),
            if outcomes.is_empty() { Cell::nothing() } else { Cell::text(outcomes.join(", ")) },
        ]);
    }
    table
}

/// The runs that broke, one sentence an arm.
pub(crate) fn broken(comparison: &Comparison) -> Vec<String> {
    let arms = comparison.arms.iter().filter(|arm| !arm.broken.is_empty());
    arms.map(|arm| {
        let count = counted(arm.broken.len(), "run", "runs");
        format!("{}: {count} broke: {}.", arm.arm.name, arm.broken.join("; "))
    })
    .collect()
}
