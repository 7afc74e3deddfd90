//! The tables of a paper, from rows.

use anyhow::Result;
use mtl_eval::comparison::Role;
use mtl_eval::stats::Interval;

use super::read::{ArmRows, Rows};
use crate::claims::{JudgedClaim, effect};
use crate::numbers::{NOTHING, ends, millions, percent, probability, score, signed};
use crate::table::{Cell, Column, Table};

/// Coverage of the scores' intervals.
const CONFIDENCE: f64 = 0.95;

/// Scores of every arm and task, gains over the baseline, parameters and processor seconds. None without runs.
pub(super) fn scores(rows: &Rows) -> Result<Option<Table>> {
    if rows.arms.is_empty() {
        return Ok(None);
    }
    let baseline = rows.baseline();
    let alone = rows.arms.iter().any(|arm| rows.gain(arm, None).is_some_and(|(_, _, alone)| alone));
    let own = if alone { rows.corrected()? } else { Default::default() };
    let over = if alone { "seeds alone, for the rows hold none over examples" } else { "examples and seeds" };
    let seeds = rows.seeds.len();
    let pilot = if rows.pilot { "Pilot, no conclusion may be drawn. " } else { "" };
    let note = format!(
        "{pilot}Headline score on {}, mean ± half of its {} % interval over {seeds} seeds; the candidates' best mean of \
         each task is bold. Gain: mean over tasks of the difference from {baseline}, with its interval over {over}; p \
         after Holm's correction over the candidates, of other arms as it is. Parameters in millions, processor seconds \
         of a training.",
        rows.split,
        percent(CONFIDENCE)
    );
    let mut table = Table::new("scores", rows.experiment.clone(), note, &["arm"]);
    for task in &rows.tasks {
        table.columns.push(Column::of_numbers(format!("{}, {}", task.name, task.metric)));
    }
    table.columns.extend(["#gain", "#interval", "#p", "#parameters, M", "#cpu s"].map(Column::new));
    for arm in &rows.arms {
        let mut cells = vec![Cell::text(title(arm))];
        cells.extend(rows.tasks.iter().map(|task| mean(rows, arm, &task.name)));
        let gain = rows.gain(arm, None);
        let p = gain.as_ref().and_then(|(gain, corrected, alone)| {
            corrected.or_else(|| alone.then(|| own.get(arm.name.as_str()).copied().unwrap_or(gain.p)))
        });
        cells.extend(interval(gain.as_ref().map(|(gain, ..)| gain)));
        cells.push(Cell::maybe(p, probability));
        cells.push(Cell::maybe(arm.parameters, |count| millions(count as usize)));
        cells.push(Cell::maybe(arm.seconds, |seconds| format!("{seconds:.1}")));
        table.rows.push(cells);
    }
    Ok(Some(table))
}

/// Gains over the baseline task by task. None where the rows hold none.
pub(super) fn gains(rows: &Rows) -> Option<Table> {
    let columns = ["arm", "task", "#gain", "#interval", "#p"];
    let note = format!(
        "Difference in headline score from {} task by task; p after Holm's correction over the arm's tasks.",
        rows.baseline()
    );
    let mut table = Table::new("gains", format!("{}: gains by task", rows.experiment), note, &columns);
    for arm in &rows.arms {
        for task in &rows.tasks {
            let Some((found, corrected, false)) = rows.gain(arm, Some(&task.name)) else { continue };
            let mut cells = vec![Cell::text(title(arm)), Cell::text(&task.name)];
            cells.extend(interval(Some(&found)));
            cells.push(Cell::maybe(corrected, probability));
            table.rows.push(cells);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Differences between arms of which none need be the baseline. None where the rows hold none.
pub(super) fn contrasts(rows: &Rows) -> Option<Table> {
    let columns = ["arm", "against", "#difference", "#interval", "#p"];
    let note = "Difference in headline score, mean over tasks, with its interval over examples and seeds; p as it is.";
    let mut table = Table::new("contrasts", format!("{}: between arms", rows.experiment), note, &columns);
    for row in rows.intervals.iter().filter(|row| row.of == "contrast") {
        let mut cells = vec![Cell::text(&row.arm), Cell::text(row.against.clone().unwrap_or_default())];
        cells.extend(interval(Some(&row.interval)));
        cells.push(Cell::of(row.interval.p, probability(row.interval.p)));
        table.rows.push(cells);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The mean of every metric over the seeds that finished. None where the rows hold none.
pub(super) fn metrics(rows: &Rows) -> Option<Table> {
    let mut arms: Vec<&String> = Vec::new();
    let mut keys: Vec<(&String, &String)> = Vec::new();
    for ((task, metric, arm), _) in &rows.metrics {
        if !arms.contains(&arm) {
            arms.push(arm);
        }
        if !keys.contains(&(task, metric)) {
            keys.push((task, metric));
        }
    }
    let note = "Mean over each arm's own seeds.";
    let mut table = Table::new("metrics", format!("{}: every metric", rows.experiment), note, &["task", "metric"]);
    table.columns.extend(arms.iter().map(|arm| Column::of_numbers(arm.as_str())));
    for (task, metric) in keys {
        let of = |arm: &&&String| {
            let fits = |key: &(String, String, String)| key.0 == *task && key.1 == *metric && key.2 == ***arm;
            let values = rows.metrics.iter().find(|(key, _)| fits(key)).map(|(_, values)| values);
            Cell::maybe(values.map(|values| values.iter().sum::<f64>() / values.len() as f64), score)
        };
        let cells = arms.iter().map(|arm| of(&arm));
        table.rows.push([Cell::text(task), Cell::text(metric)].into_iter().chain(cells).collect());
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Gain against size. None where the rows hold one size only.
pub(super) fn regimes(rows: &Rows) -> Option<Table> {
    let columns = ["relation", "#examples", "#seeds", "#alone", "#shared", "#gain", "#interval"];
    let note = "Headline score of a small task alone and beside a larger one, and the difference with its interval.";
    let mut table = Table::new("sizes", format!("{}: gain against size", rows.experiment), note, &columns);
    for row in &rows.regimes {
        let [low, high] = row.point.interval;
        table.rows.push(vec![
            Cell::text(&row.relation),
            Cell::of(row.examples, format!("{}", row.examples)),
            Cell::of(row.seeds, format!("{}", row.seeds)),
            Cell::of(row.scores[0], score(row.scores[0])),
            Cell::of(row.scores[1], score(row.scores[1])),
            Cell::of(row.point.gain, signed(row.point.gain, 4)),
            Cell::text(format!("[{}, {}]", signed(low, 4), signed(high, 4))),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Every claim with its differences.
pub(super) fn claims(judged: &[JudgedClaim]) -> Option<Table> {
    let columns = ["claim", "suite", "difference", "#estimate", "#interval", "bound", "#p", "#detects", "outcome"];
    let note = "A claim is met if every lower end lies above its bound. What is missed counts against it where the rows \
                detect, with power 0.8, an effect as small as is allowed; else it is uninformative. p is two-sided, of \
                the difference being the bound, after Holm's correction where one suite of several has to hold.";
    let mut table = Table::new("claims", "Claims", note, &columns);
    for one in judged {
        let whole = [one.claim.name.clone(), String::new(), one.stated.words()].map(Cell::text);
        let nothing = (0..5).map(|_| Cell::text(""));
        let outcome = Cell::text(format!("claim: {}", one.outcome.words())).strong_if(true);
        table.rows.push(whole.into_iter().chain(nothing).chain([outcome]).collect());
        for compared in &one.compared {
            let words = match (&compared.outcome, &compared.why) {
                (Some(outcome), Some(why)) => format!("{}: {why}", outcome.words()),
                (Some(outcome), None) => outcome.words().to_string(),
                (None, _) => "decides nothing".into(),
            };
            let decides = compared.outcome.is_some();
            let bound = if decides { format!("above {}", signed(one.claim.above, 3)) } else { NOTHING.into() };
            let mut cells = vec![
                Cell::text(&one.claim.name),
                Cell::text(&compared.suite),
                Cell::text(format!("{} − {}", one.claim.arm, compared.against)),
            ];
            cells.extend(interval(compared.interval.as_ref()));
            cells.extend([
                Cell::text(bound),
                Cell::maybe(compared.p.filter(|_| decides && compared.interval.is_some()), probability),
            ]);
            cells.push(Cell::maybe(compared.detectable, effect));
            cells.push(Cell::text(words));
            table.rows.push(cells);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// An estimate and its ends.
fn interval(found: Option<&Interval>) -> [Cell; 2] {
    match found {
        Some(found) => [Cell::of(found.estimate, signed(found.estimate, 4)), Cell::text(ends(found, 4))],
        None => [Cell::nothing(), Cell::nothing()],
    }
}

/// A mean with half of its interval; bold where no candidate is better.
fn mean(rows: &Rows, arm: &ArmRows, task: &str) -> Cell {
    let of = |arm: &ArmRows| {
        let scores = rows.scores(arm, task);
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    };
    let Some(own) = of(arm) else { return Cell::nothing() };
    let spread = Interval::of_mean(&rows.scores(arm, task), CONFIDENCE);
    let spread = spread.map_or(String::new(), |found| format!(" ± {}", score((found.high - found.low) / 2.)));
    let candidate = |arm: &&ArmRows| arm.role == Role::Candidate;
    let best = rows.arms.iter().filter(candidate).filter_map(of).fold(f64::NEG_INFINITY, f64::max);
    let strong = candidate(&arm) && own >= best - 1e-10 * best.abs();
    Cell::of(own, score(own) + &spread).strong_if(strong)
}

fn title(arm: &ArmRows) -> String {
    match arm.role {
        Role::Candidate => arm.name.clone(),
        role => format!("{} ({})", arm.name, role.name()),
    }
}

/// What a claim says, and what the rows say of it.
pub(super) fn sentence(judged: &JudgedClaim) -> String {
    format!("claim: {} ({}). {}", judged.outcome.words(), judged.claim.name, judged.claim.about).trim_end().to_string()
}
