//! Gains over the baseline: what the verdicts rest on, task by task, and what room there was.

use std::collections::BTreeSet;

use mtl_eval::comparison::{ArmResult, Comparison, Tone};
use mtl_eval::transfer::SMALLEST_BASELINE;

use super::scores::{interval, named};
use super::{cells, is_baseline};
use crate::numbers::{NOTHING, percent, probability, score, signed};
use crate::table::{Cell, Table};

/// The mean gain in headline score, which the verdicts rest on, and Δm and ranks, which decide nothing.
pub(super) fn gains(comparison: &Comparison) -> Table {
    let note = format!(
        "“Gain”: in headline score over {}, mean over tasks, by the crossed bootstrap over examples and seeds; the \
         verdict rests on its p, corrected by Holm over the candidates; controls, oracles and portfolios keep their own. \
         “Detects”: the smallest gain that would be found with power 0.8. Secondary, deciding nothing: Δm, the mean gain \
         as a share of the baseline's score, of the headline metrics (interval by the same bootstrap) and of all metrics \
         (“per task” averages each task's first, “per metric” counts all alike; the interval is over the seeds alone and \
         says nothing of other test examples); mean rank over tasks among the ranked candidates, 1 is best; “tasks \
         hurt”, the share with significant negative transfer; d_z, Cohen's effect size of the seed-paired mean gains, \
         – where all of them are equal. Δm leaves out what has a baseline within {} of 0 or within two standard \
         deviations of it, in every seed and arm alike; the gain in the metric's own unit stands beside the name.",
        comparison.baseline, SMALLEST_BASELINE,
    );
    let columns = [
        "arm",
        "#pairs of seeds",
        "#gain",
        "#interval",
        "#p",
        "#p, Holm",
        "says",
        "#detects",
        "#Δm headline, %",
        "#interval",
        "#Δm per task, %",
        "#interval",
        "#Δm per metric, %",
        "#mean rank",
        "#tasks hurt, %",
        "#d_z",
        "left out of Δm",
    ];
    let mut table = Table::new("gains", "Gain over the baseline", note, &columns);
    for arm in &comparison.arms {
        if is_baseline(comparison, arm) {
            let mut row: Vec<Cell> = columns.iter().map(|_| Cell::nothing()).collect();
            row[0] = Cell::text(format!("{} (baseline)", arm.arm.name));
            row[13] = Cell::maybe(arm.mean_rank, |rank| format!("{rank:.2}"));
            table.rows.push(row);
            continue;
        }
        let gain = |index: usize| Cell::maybe(arm.gain_percent()[index], |percent| signed(percent, 2));
        let headline = arm.headline.as_ref();
        let of_headline = arm.gain_headline.as_ref();
        let corrected = arm.corrected_p.filter(|_| arm.arm.is_candidate());
        table.rows.push(vec![
            named(arm),
            Cell::count(if arm.pairs.is_empty() { arm.finished } else { arm.pairs.len() }),
            Cell::maybe(headline.map(|found| found.estimate), |gain| signed(gain, 4)),
            interval(headline, 4),
            Cell::maybe(headline.map(|found| found.p), probability),
            Cell::maybe(corrected, probability),
            Cell::text(says(comparison, arm)),
            Cell::maybe(headline.map(|found| found.detectable(comparison.level)), |effect| format!("{effect:.4}")),
            Cell::maybe(of_headline.map(|found| found.estimate), |percent| signed(percent, 2)),
            interval(of_headline, 2),
            gain(0),
            interval(arm.gain_per_task.as_ref(), 2),
            gain(1),
            Cell::maybe(arm.mean_rank, |rank| format!("{rank:.2}")),
            Cell::maybe(arm.negative_share, percent),
            Cell::maybe(arm.effect.filter(|effect| effect.abs() < f64::MAX), |effect| signed(effect, 2)),
            Cell::text(left_out(arm)),
        ]);
    }
    table
}

/// The verdict in a word.
fn says(comparison: &Comparison, arm: &ArmResult) -> &'static str {
    match comparison.verdict(arm).tone {
        Tone::Better => "better",
        Tone::Worse => "worse",
        Tone::Undecided => "undecided",
        Tone::None if comparison.pilot_of(arm).is_some() => "pilot",
        Tone::None => "nothing",
    }
}

/// What Δm leaves out of an arm, with the gain instead of its share.
fn left_out(arm: &ArmResult) -> String {
    let mut parts: Vec<String> =
        arm.left_out.iter().map(|one| format!("{} ({})", one.name, signed(one.difference, 3))).collect();
    let named = |name: &str| arm.left_out.iter().any(|one| one.name == name);
    let undefined: BTreeSet<&String> = arm.gains.iter().flat_map(|gain| &gain.undefined).collect();
    parts.extend(undefined.into_iter().filter(|name| !named(name)).cloned());
    if parts.is_empty() { NOTHING.to_string() } else { parts.join(", ") }
}

/// The gain on each task with its interval.
pub(super) fn transfer(comparison: &Comparison) -> Table {
    let note = format!(
        "Gain in headline score over {}, in the metric's own unit; positive is better. Paired bootstrap over examples × \
         seeds, the primary test; its reference is continuous, so its p has no smallest value. “p, Holm” is corrected \
         over the arm's tasks, not over arms. “Detects”: the smallest gain that would be found with power 0.8 without \
         correction.",
        comparison.baseline
    );
    let columns =
        ["arm", "task", "metric", "#gain", "#interval", "#p", "#p, Holm", "#detects", "#examples", "#seeds", "says"];
    let mut table = Table::new("transfer", "Transfer to each task", note, &columns);
    for (arm, index, task) in cells(comparison) {
        let Some(found) = &task.transfer else { continue };
        let says = match comparison.mark(arm, index) {
            Some(true) => "better",
            Some(false) => "worse",
            None if comparison.pilot_of(arm).is_some() => "pilot",
            None => "undecided",
        };
        table.rows.push(vec![
            named(arm),
            Cell::text(&comparison.tasks[index].name),
            Cell::text(&comparison.tasks[index].headline),
            Cell::of(found.estimate, signed(found.estimate, 4)),
            interval(Some(found), 4),
            Cell::of(found.p, probability(found.p)),
            Cell::maybe(task.corrected_p, probability),
            Cell::of(found.detectable(comparison.level), format!("{:.4}", found.detectable(comparison.level))),
            Cell::count(found.examples),
            Cell::count(found.seeds),
            Cell::text(says),
        ]);
    }
    table
}

/// The room that each task leaves above the baseline, beside what the seeds can detect of it.
pub(super) fn headroom(comparison: &Comparison) -> Table {
    let note = format!(
        "“Room”: the most that can be gained over {}'s mean score, up to the noise ceiling where it is known, else the \
         upper end of the highest interval among the candidates. “Detects”: the smallest gain that the seeds find with \
         power 0.8 without correction, lowest and highest over the candidates. Where the room is smaller than that, no arm \
         could have been shown to be better.",
        comparison.baseline
    );
    let columns =
        ["task", "#baseline", "#ceiling", "#room", "room by", "#detects, lowest", "#detects, highest", "says"];
    let mut table = Table::new("headroom", "Headroom", note, &columns);
    for found in &comparison.headroom {
        let ceiling = comparison.tasks.iter().find(|facts| facts.name == found.task).and_then(|facts| facts.ceiling);
        let by = match (&found.by, ceiling) {
            (Some(arm), _) => format!("the upper end of {arm}"),
            (None, Some(_)) => "the noise ceiling".to_string(),
            (None, None) => NOTHING.to_string(),
        };
        let says = match (found.room, found.detectable) {
            (Some(room), Some([lowest, _])) if room < lowest => "no room to be shown better",
            (Some(room), Some([_, highest])) if room >= highest => "room enough",
            (Some(_), Some(_)) => "room for some arms",
            _ => NOTHING,
        };
        table.rows.push(vec![
            Cell::text(&found.task),
            Cell::of(found.baseline, score(found.baseline)),
            Cell::maybe(ceiling, score),
            Cell::maybe(found.room, |room| signed(room, 4)),
            Cell::text(by),
            Cell::maybe(found.detectable.map(|[lowest, _]| lowest), |effect| format!("{effect:.4}")),
            Cell::maybe(found.detectable.map(|[_, highest]| highest), |effect| format!("{effect:.4}")),
            Cell::text(says),
        ]);
    }
    table
}
