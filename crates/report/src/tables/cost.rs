//! What an arm costs: parameters and bytes, time and processor time.

use mtl_eval::comparison::Comparison;

use super::scores::named;
use crate::numbers::{grouped, millions, percent, signed};
use crate::table::{Cell, Table};

/// Parameters and bytes.
pub(super) fn parameters(comparison: &Comparison) -> Table {
    let note =
        "Lower is better, but for “saved”: 1 − parameters / those of one whole model per task. 1 MB is 10⁶ bytes.";
    let columns = [
        "arm",
        "#parameters, millions",
        "#trainable, millions",
        "#one model per task, millions",
        "#saved, %",
        "#stored, MB",
    ];
    let mut table = Table::new("parameters", "Size", note, &columns);
    for arm in &comparison.arms {
        let count = |count: usize| {
            if count == 0 { Cell::nothing() } else { Cell::of(count as f64, millions(count)) }
        };
        let known = arm.parameters > 0;
        table.rows.push(vec![
            named(arm),
            count(arm.parameters),
            if known { Cell::of(arm.trainable as f64, millions(arm.trainable)) } else { Cell::nothing() },
            count(arm.single_task_parameters),
            Cell::maybe(known.then_some(arm.parameter_reduction), percent),
            Cell::maybe(known.then_some(arm.stored_bytes as f64), |bytes| format!("{:.1}", bytes / 1e6)),
        ]);
    }
    table
}

/// Seconds, processor seconds and speed, with the whole cost against the baseline's.
pub(super) fn time(comparison: &Comparison) -> Table {
    let note = format!(
        "Means over finished runs; lower is better, but for tokens a second. “Against the baseline”: how \
         many more processor seconds a run takes than one of {}, in percent. “Tuning” sums over the arm's tuning runs \
         and is no part of the other columns.",
        comparison.baseline
    );
    let columns = [
        "arm",
        "#training, s",
        "#processor, s",
        "#against the baseline, %",
        "#tuning, processor s",
        "#tokens a second",
        "#answering a text, ms",
    ];
    let mut table = Table::new("time", "Time", note, &columns);
    let of_baseline = comparison.arms.iter().find(|arm| arm.arm.name == comparison.baseline).map(|arm| arm.cpu_seconds);
    for arm in &comparison.arms {
        let ran = |value: f64| Some(value).filter(|_| arm.finished > 0);
        let against = of_baseline.filter(|&base| base > 0.).and_then(|base| ran(100. * (arm.cpu_seconds / base - 1.)));
        table.rows.push(vec![
            named(arm),
            Cell::maybe(ran(arm.seconds), |value| format!("{value:.1}")),
            Cell::maybe(ran(arm.cpu_seconds), |value| format!("{value:.1}")),
            Cell::maybe(against, |value| signed(value, 1)),
            Cell::of(arm.tuning_cpu_seconds, format!("{:.1}", arm.tuning_cpu_seconds)),
            Cell::maybe(ran(arm.tokens_per_second), |value| grouped(value.round() as u64)),
            Cell::maybe(arm.latency_ms, |value| format!("{value:.2}")),
        ]);
    }
    table
}
