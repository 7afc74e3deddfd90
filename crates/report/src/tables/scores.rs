//! Scores, gains and transfer.

use std::collections::BTreeSet;

use mtl_eval::comparison::{ArmResult, ArmSpec, Comparison};
use mtl_eval::stats::Interval;

use super::{cells, is_baseline, split};
use crate::numbers::{NOTHING, ends, percent, probability, score, signed};
use crate::table::{Cell, Column, Table};

/// Mean headline scores, arms by tasks.
pub(super) fn scores(comparison: &Comparison) -> Table {
    let note = format!(
        "Mean over seeds ± standard deviation over seeds, on {}; higher is better. The best mean of each task is bold, \
         whether or not it differs from the others by more than chance. ▲ and ▼: better or worse than {} at level {} \
         (paired bootstrap over examples × seeds, Holm's correction over the arm's tasks). The last row is the trivial \
         answer's score.",
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

/// Whether no other arm but a control has a higher mean on a task.
pub(crate) fn best(comparison: &Comparison, arm: &ArmResult, task: usize) -> bool {
    let mean = |arm: &ArmResult| arm.tasks.get(task).and_then(|task| task.mean).filter(|mean| mean.is_finite());
    let rivals = comparison.arms.iter().filter(|arm| arm.arm.control.is_none()).filter_map(mean);
    let highest = rivals.fold(f64::NEG_INFINITY, f64::max);
    arm.arm.control.is_none() && mean(arm).is_some_and(|mean| mean >= highest)
}

fn mark(comparison: &Comparison, arm: &ArmResult, task: usize) -> &'static str {
    match verdict(comparison, arm, task) {
        Some(true) => " ▲",
        Some(false) => " ▼",
        None => "",
    }
}

/// Whether a task is significantly better (true) or worse (false) than under the baseline; a pilot tells neither.
pub(crate) fn verdict(comparison: &Comparison, arm: &ArmResult, task: usize) -> Option<bool> {
    let task = arm.tasks.get(task).filter(|_| comparison.pilot.is_none())?;
    let (transfer, p) = (task.transfer.as_ref()?, task.corrected_p?);
    (p <= comparison.level && transfer.estimate != 0.).then_some(transfer.estimate > 0.)
}

/// Δm, ranks and the share of tasks that are hurt.
pub(super) fn gains(comparison: &Comparison) -> Table {
    let note = format!(
        "Δm: mean relative gain over {} in percent; positive is better. “Per task” averages each task's metrics first, \
         “per metric” counts every metric of every task alike. Both are means over seed pairs, and so are the \
         intervals, which are not corrected for the number of arms. Mean rank over tasks, 1 is best. “Tasks hurt”: share with significant negative transfer. \
         d_z: Cohen's effect size of the seed-paired mean differences.",
        comparison.baseline
    );
    let columns = [
        "arm",
        "#Δm per task, %",
        "#interval",
        "#Δm per metric, %",
        "#interval",
        "#mean rank",
        "#tasks hurt, %",
        "#d_z",
        "left out of Δm",
    ];
    let mut table = Table::new("gains", "Gain over the baseline", note, &columns);
    for arm in &comparison.arms {
        let gain = |index: usize| Cell::maybe(arm.gain_percent()[index], |percent| signed(percent, 2));
        let undefined: BTreeSet<&str> = arm.gains.iter().flat_map(|gain| &gain.undefined).map(String::as_str).collect();
        let undefined: Vec<&str> = undefined.into_iter().collect();
        let baseline = is_baseline(comparison, arm);
        let unless = |cell: Cell| if baseline { Cell::nothing() } else { cell };
        table.rows.push(vec![
            if baseline { Cell::text(format!("{} (baseline)", arm.arm.name)) } else { named(arm) },
            unless(gain(0)),
            interval(arm.gain_per_task.as_ref(), 2),
            unless(gain(1)),
            interval(arm.gain_per_metric.as_ref(), 2),
            Cell::maybe(arm.mean_rank, |rank| format!("{rank:.2}")),
            unless(Cell::maybe(arm.negative_share, percent)),
            Cell::maybe(arm.effect, |effect| signed(effect, 2)),
            Cell::text(if undefined.is_empty() { NOTHING.to_string() } else { undefined.join(", ") }),
        ]);
    }
    table
}

/// The gain on each task with its interval.
pub(super) fn transfer(comparison: &Comparison) -> Table {
    let note = format!(
        "Gain in headline score over {}, in the metric's own unit; positive is better. Paired bootstrap over examples × \
         seeds, the primary test; its reference is continuous, so its p has no smallest value. “p, Holm” is corrected \
         over the arm's tasks, not over arms.",
        comparison.baseline
    );
    let columns = ["arm", "task", "metric", "#gain", "#interval", "#p", "#p, Holm", "#examples", "#seeds", "says"];
    let mut table = Table::new("transfer", "Transfer to each task", note, &columns);
    for (arm, index, task) in cells(comparison) {
        let Some(found) = &task.transfer else { continue };
        let says = match verdict(comparison, arm, index) {
            Some(true) => "better",
            Some(false) => "worse",
            None if comparison.pilot.is_some() => "pilot",
            None => "undecided",
        };
        table.rows.push(vec![
            named(arm),
            Cell::text(&comparison.tasks[index].name),
            Cell::text(&comparison.tasks[index].headline),
            Cell::of(found.estimate, signed(found.estimate, 3)),
            interval(Some(found), 3),
            Cell::of(found.p, probability(found.p)),
            Cell::maybe(task.corrected_p, probability),
            Cell::count(found.examples),
            Cell::count(found.seeds),
            Cell::text(says),
        ]);
    }
    table
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

/// An arm's name, and what it controls for where the name does not say so itself.
pub(crate) fn title(arm: &ArmSpec) -> String {
    match &arm.control {
        Some(control) if arm.name.contains(control) => format!("{}, control", arm.name),
        Some(control) => format!("{} (control: {control})", arm.name),
        None => arm.name.clone(),
    }
}

fn interval(interval: Option<&Interval>, digits: usize) -> Cell {
    interval.map_or_else(Cell::nothing, |found| Cell::of(found.low, ends(found, digits)))
}
