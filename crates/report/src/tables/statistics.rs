//! Every test, with the smallest p that it could have given.

use mtl_eval::comparison::Comparison;
use mtl_eval::stats::TestResult;

use super::cells;
use super::scores::named;
use crate::numbers::{NOTHING, probability, smallest};
use crate::plots;
use crate::table::{Cell, Table};

/// All tests of the comparison, but for the bootstrap, which stands beside its intervals.
pub(super) fn tests(comparison: &Comparison) -> Table {
    let (level, pilot) = (comparison.level, comparison.pilot.is_some());
    let note = format!(
        "A test whose smallest attainable p lies above {level} cannot reject, whatever the scores are. Paired t and \
         Wilcoxon compare mean headline scores seed by seed; McNemar the answers of the first seed, example by \
         example; Friedman and Nemenyi rank the candidates, with tasks as blocks. All are secondary: no verdict rests on \
         them. “Sign”: + where the difference that p is of favours the arm, − where it favours the baseline. Of these p only Nemenyi's are \
         corrected for many comparisons. {NOTHING} where differences are all equal, so that there is no spread to measure \
         them by."
    );
    let columns = ["what", "test", "#statistic", "#n", "sign", "#p", "#smallest p", "at the level"];
    let mut table = Table::new("tests", "Tests", note, &columns);
    let mut add = |what: Cell, found: &TestResult| {
        let says = match found {
            _ if pilot => "pilot".to_string(),
            found if found.is_certain() => NOTHING.to_string(),
            found if found.smallest_p > level => format!("cannot reach {level}"),
            found if found.p <= level => "differs".to_string(),
            _ => "undecided".to_string(),
        };
        let known = !found.is_certain();
        table.rows.push(vec![
            what,
            Cell::text(&found.test),
            Cell::maybe(known.then_some(found.statistic), |statistic| format!("{statistic:.3}")),
            Cell::count(found.n),
            Cell::text(match found.sign {
                0 => NOTHING,
                sign if sign > 0 => "+",
                _ => "−",
            }),
            Cell::maybe(known.then_some(found.p), probability),
            Cell::of(found.smallest_p, smallest(found.smallest_p)),
            Cell::text(says),
        ]);
    };
    if let Some(found) = &comparison.friedman {
        add(Cell::text("all ranked candidates"), found);
    }
    for arm in &comparison.arms {
        arm.tests.iter().for_each(|found| add(named(arm), found));
    }
    for (arm, index, task) in cells(comparison) {
        if let Some(found) = &task.mcnemar {
            add(Cell::text(format!("{} on {}", named(arm).text, comparison.tasks[index].name)), found);
        }
    }
    if let Some(found) = &comparison.nemenyi {
        let k = found.mean_ranks.len();
        let least = (0..k).flat_map(|a| (0..a).map(move |b| (a, b)));
        let least = least.filter_map(|(a, b)| found.p.get(a)?.get(b).copied()).fold(1., f64::min);
        let says = if found.smallest_p > found.level { "cannot reach" } else { "see pairs" };
        table.rows.push(vec![
            Cell::text(format!("all pairs of {k} arms")),
            Cell::text(format!("Nemenyi, critical difference {:.3} ranks", found.critical_difference)),
            Cell::of(found.critical_difference, format!("{:.3}", found.critical_difference)),
            Cell::count(comparison.tasks.len()),
            Cell::nothing(),
            Cell::of(least, format!("≥ {}", probability(least))),
            Cell::of(found.smallest_p, smallest(found.smallest_p)),
            Cell::text(if found.smallest_p > found.level {
                format!("{says} {}", found.level)
            } else {
                says.to_string()
            }),
        ]);
    }
    table
}

/// Nemenyi's pairs; none for two arms, whose only pair the tests above compare better.
pub(super) fn pairs(comparison: &Comparison) -> Table {
    let columns =
        ["better ranked", "against", "#mean ranks apart", "#critical difference", "#p", "#smallest p", "says"];
    let note = "Ranks over tasks, 1 is best. p is corrected for comparing all pairs.";
    let mut table = Table::new("pairs", "All pairs by rank (Nemenyi)", note, &columns);
    let Some(found) = comparison.nemenyi.as_ref().filter(|found| found.mean_ranks.len() > 2) else { return table };
    let Ok(names) = plots::ranked(comparison, found.mean_ranks.len()) else { return table };
    for a in 0..names.len() {
        for b in a + 1..names.len() {
            let apart = found.mean_ranks[b] - found.mean_ranks[a];
            let (first, second) = if apart >= 0. { (a, b) } else { (b, a) };
            let apart = apart.abs();
            let differs = apart > found.critical_difference;
            table.rows.push(vec![
                Cell::text(names[first].1),
                Cell::text(names[second].1),
                Cell::of(apart, format!("{apart:.2}")),
                Cell::of(found.critical_difference, format!("{:.2}", found.critical_difference)),
                Cell::maybe(found.p.get(a).and_then(|row| row.get(b)).copied(), probability),
                Cell::of(found.smallest_p, smallest(found.smallest_p)),
                Cell::text(match differs {
                    _ if comparison.pilot.is_some() => "pilot",
                    true => "differ",
                    false => "undecided",
                }),
            ]);
        }
    }
    table
}
