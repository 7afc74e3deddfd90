//! Rows read back: what [`crate::csv`], [`crate::metrics_csv`] and [`crate::intervals_csv`] wrote, and `regimes.csv`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use mtl_eval::comparison::Role;
use mtl_eval::stats::{Interval, holm};

use crate::plots::{RegimeCurve, RegimePoint};

/// The files that rows are read from; a folder holds some of them.
pub const FILES: [&str; 4] = ["report.csv", "metrics.csv", "intervals.csv", "regimes.csv"];

/// A task of an experiment, as its rows know it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskRows {
    /// Its name and its headline metric.
    pub(crate) name: String,
    pub(crate) metric: String,
}

/// An arm of an experiment, as its rows know it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ArmRows {
    pub(crate) name: String,
    pub(crate) baseline: bool,
    pub(crate) role: Role,
    /// Headline scores by task and seed; a run that broke has none.
    pub(crate) scores: BTreeMap<(String, String), f64>,
    /// Parameters, and processor seconds of a run, where the rows have them.
    pub(crate) parameters: Option<f64>,
    pub(crate) seconds: Option<f64>,
}

/// An interval of the rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IntervalRow {
    pub(crate) arm: String,
    pub(crate) of: String,
    pub(crate) task: String,
    pub(crate) against: Option<String>,
    pub(crate) interval: Interval,
    pub(crate) corrected: Option<f64>,
}

/// A measurement of `regimes.csv`: gain of a small task of so many examples by sharing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegimeRow {
    pub(crate) relation: String,
    pub(crate) examples: f64,
    pub(crate) seeds: f64,
    pub(crate) scores: [f64; 2],
    pub(crate) point: RegimePoint,
}

/// All rows of one experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The experiment's name: that of its rows, or of the folder where they do not say.
    pub experiment: String,
    /// Whether the experiment is a pilot, from which no conclusion may be drawn.
    pub pilot: bool,
    /// The claims that its plan holds, with their hash.
    pub claims: Option<String>,
    pub(crate) split: String,
    pub(crate) seeds: Vec<String>,
    pub(crate) tasks: Vec<TaskRows>,
    pub(crate) arms: Vec<ArmRows>,
    pub(crate) intervals: Vec<IntervalRow>,
    /// Means of every metric, by task, metric and arm, in the order of the rows.
    pub(crate) metrics: Vec<((String, String, String), Vec<f64>)>,
    pub(crate) regimes: Vec<RegimeRow>,
}

/// A line of a file: its cells by column.
struct Line {
    place: String,
    cells: BTreeMap<String, String>,
}

impl Line {
    fn text(&self, column: &str) -> Result<String> {
        let found = self.cells.get(column);
        found.cloned().with_context(|| format!("{}: there is no column `{column}`", self.place))
    }

    /// The cell where the column is there and not empty: rows of older programs have fewer of them.
    fn maybe(&self, column: &str) -> Option<String> {
        self.cells.get(column).filter(|cell| !cell.is_empty()).cloned()
    }

    fn maybe_number(&self, column: &str) -> Result<Option<f64>> {
        let Some(cell) = self.maybe(column) else { return Ok(None) };
        let found = cell.parse::<f64>().ok().filter(|value| value.is_finite());
        found.map(Some).with_context(|| format!("{}, column `{column}`: `{cell}` is not a number", self.place))
    }

    fn number(&self, column: &str) -> Result<f64> {
        self.text(column)?;
        self.maybe_number(column)?.with_context(|| format!("{}, column `{column}`: no number", self.place))
    }
}

/// The lines of a file.
fn lines(place: &str, text: &str) -> Result<Vec<Line>> {
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let heads: Vec<String> = reader.headers().with_context(|| place.to_string())?.iter().map(String::from).collect();
    let mut found = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let place = format!("{place}:{}", at + 2);
        let record = record.with_context(|| place.clone())?;
        // A `'` keeps spreadsheets from running a cell as a formula.
        let plain = |cell: &str| match cell.strip_prefix('\'') {
            Some(rest) if rest.starts_with(['=', '+', '-', '@', '\t', '\r']) => rest.to_string(),
            _ => cell.to_string(),
        };
        found.push(Line { place, cells: heads.iter().cloned().zip(record.iter().map(plain)).collect() });
    }
    Ok(found)
}

impl Rows {
    /// The rows of a folder, by `files`: name (one of [`FILES`]) and text. `folder` is what messages call it.
    ///
    /// # Errors
    /// If no file is one of [`FILES`], a column that is needed is not there, a cell is no number, or the rows are of
    /// several experiments.
    pub fn parse(folder: &str, files: &[(&str, String)]) -> Result<Self> {
        let mut rows = Self::default();
        ensure!(!files.is_empty(), "{folder}: none of {} is there", FILES.join(", "));
        for (name, text) in files {
            let lines = lines(&format!("{folder}/{name}"), text)?;
            match *name {
                "report.csv" => lines.iter().try_for_each(|line| rows.run(line))?,
                "metrics.csv" => lines.iter().try_for_each(|line| rows.metric(line))?,
                "intervals.csv" => lines.iter().try_for_each(|line| rows.interval(line))?,
                "regimes.csv" => lines.iter().try_for_each(|line| rows.regime(line))?,
                other => bail!("{folder}: `{other}` is none of {}", FILES.join(", ")),
            }
        }
        if rows.experiment.is_empty() {
            rows.experiment = folder.trim_end_matches('/').rsplit('/').next().unwrap_or(folder).to_string();
        }
        ensure!(
            rows.arms.is_empty() || rows.arms.iter().any(|arm| arm.baseline),
            "{folder}/report.csv: no row is of the baseline"
        );
        Ok(rows)
    }

    fn of_experiment(&mut self, line: &Line) -> Result<()> {
        let name = line.text("experiment")?;
        ensure!(!name.is_empty(), "{}: the column `experiment` is empty", line.place);
        if self.experiment.is_empty() {
            self.experiment = name;
        } else if self.experiment != name {
            bail!("{}: rows of `{name}` beside rows of `{}`", line.place, self.experiment);
        }
        Ok(())
    }

    fn run(&mut self, line: &Line) -> Result<()> {
        self.of_experiment(line)?;
        self.pilot |= line.text("pilot")? == "true";
        self.split = line.text("split")?;
        let (task, seed, name) = (line.text("task")?, line.text("seed")?, line.text("arm")?);
        if !self.tasks.iter().any(|known| known.name == task) {
            self.tasks.push(TaskRows { name: task.clone(), metric: line.text("metric")? });
        }
        if !self.seeds.contains(&seed) {
            self.seeds.push(seed.clone());
        }
        let at = match self.arms.iter().position(|arm| arm.name == name) {
            Some(at) => at,
            None => {
                self.arms.push(ArmRows {
                    name,
                    baseline: line.text("baseline")? == "true",
                    role: role(line)?,
                    scores: BTreeMap::new(),
                    parameters: line.maybe_number("parameters")?.filter(|count| *count > 0.),
                    seconds: line.maybe_number("mean_cpu_seconds")?.filter(|seconds| *seconds > 0.),
                });
                self.arms.len() - 1
            }
        };
        let score = line.maybe_number("score")?;
        if let (Some(arm), Some(score)) = (self.arms.get_mut(at), score) {
            let again = arm.scores.insert((task, seed), score).is_some();
            ensure!(!again, "{}: a second row of this arm, task and seed", line.place);
        }
        Ok(())
    }

    fn metric(&mut self, line: &Line) -> Result<()> {
        self.of_experiment(line)?;
        let key = (line.text("task")?, line.text("metric")?, line.text("arm")?);
        let value = line.number("value")?;
        // Rows of one key stand together, the last one is the first to look at.
        match self.metrics.iter_mut().rev().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => self.metrics.push((key, vec![value])),
        }
        Ok(())
    }

    fn interval(&mut self, line: &Line) -> Result<()> {
        self.of_experiment(line)?;
        self.claims = self.claims.take().or_else(|| line.maybe("claims"));
        let interval = Interval {
            estimate: line.number("estimate")?,
            low: line.number("low")?,
            high: line.number("high")?,
            confidence: line.number("confidence")?,
            standard_error: line.number("standard_error")?,
            degrees: line.maybe_number("degrees")?.unwrap_or(f64::INFINITY),
            p: line.number("p")?,
            examples: line.number("examples")? as usize,
            seeds: line.number("seeds")? as usize,
        };
        self.intervals.push(IntervalRow {
            arm: line.text("arm")?,
            of: line.text("of")?,
            task: line.text("task")?,
            against: line.maybe("against"),
            interval,
            corrected: line.maybe_number("corrected_p")?,
        });
        Ok(())
    }

    fn regime(&mut self, line: &Line) -> Result<()> {
        self.regimes.push(RegimeRow {
            relation: line.text("relation")?,
            examples: line.number("examples")?,
            seeds: line.number("seeds")?,
            scores: [line.number("single")?, line.number("shared")?],
            point: RegimePoint {
                ratio: line.number("ratio")?,
                gain: line.number("gain")?,
                interval: [line.number("low")?, line.number("high")?],
            },
        });
        Ok(())
    }

    /// The name of the baseline; empty where there are no runs.
    pub(crate) fn baseline(&self) -> &str {
        self.arms.iter().find(|arm| arm.baseline).map_or("", |arm| &arm.name)
    }

    /// The interval of `arm` − `against` of the mean headline score, as the rows hold it: crossed over examples and seeds.
    /// Where only the opposite difference is there it is turned.
    pub(crate) fn difference(&self, arm: &str, against: &str) -> Option<Interval> {
        let of = |arm: &str, against: &str| {
            let named = |row: &&IntervalRow| row.against.as_deref() == Some(against) && row.of == "contrast";
            let gain = |row: &&IntervalRow| row.of == "gain" && self.is_gain_over(row, against);
            self.intervals.iter().filter(|row| row.arm == arm).find(|row| named(row) || gain(row))
        };
        let turned = |found: &IntervalRow| {
            let Interval { estimate, low, high, .. } = found.interval;
            Interval { estimate: -estimate, low: -high, high: -low, ..found.interval.clone() }
        };
        of(arm, against).map(|row| row.interval.clone()).or_else(|| of(against, arm).map(turned))
    }

    /// Whether a row of a gain is over `against`: what it says, or else the baseline of the runs.
    fn is_gain_over(&self, row: &IntervalRow, against: &str) -> bool {
        row.against.as_deref().unwrap_or(self.baseline()) == against
    }

    /// The gain of `arm` over the baseline, in the mean (`task` none) or on a task, with its corrected p; and whether it
    /// ranges over seeds alone, because the rows hold no interval over examples.
    pub(crate) fn gain(&self, arm: &ArmRows, task: Option<&str>) -> Option<(Interval, Option<f64>, bool)> {
        if arm.baseline {
            return None;
        }
        let of = if task.is_some() { "task" } else { "gain" };
        let fits = |row: &&IntervalRow| row.arm == arm.name && row.of == of && row.task == task.unwrap_or_default();
        if let Some(row) = self.intervals.iter().find(fits) {
            return Some((row.interval.clone(), row.corrected, false));
        }
        if !self.intervals.is_empty() {
            return None;
        }
        let differences = self.differences(arm, task);
        Interval::of_mean(&differences, 0.95).map(|interval| (interval, None, true))
    }

    /// The corrected p of gains that the rows hold no interval of, by arm: Holm over the candidates.
    pub(crate) fn corrected(&self) -> Result<BTreeMap<&str, f64>> {
        let gains: Vec<(&str, f64)> = self
            .arms
            .iter()
            .filter(|arm| arm.role == Role::Candidate)
            .filter_map(|arm| Some((arm.name.as_str(), self.gain(arm, None)?.0.p)))
            .collect();
        let corrected = holm(&gains.iter().map(|(_, p)| *p).collect::<Vec<_>>())?;
        Ok(gains.into_iter().map(|(name, _)| name).zip(corrected).collect())
    }

    /// Arm − baseline of every pair of seeds, of a task or of the mean over the tasks that both have.
    fn differences(&self, arm: &ArmRows, task: Option<&str>) -> Vec<f64> {
        let Some(other) = self.arms.iter().find(|arm| arm.baseline) else { return Vec::new() };
        let of_seed = |seed: &String| {
            let tasks = self.tasks.iter().filter(|known| task.is_none_or(|task| known.name == task));
            let of = |known: &TaskRows| {
                let key = (known.name.clone(), seed.clone());
                Some(arm.scores.get(&key)? - other.scores.get(&key)?)
            };
            let found: Vec<f64> = tasks.filter_map(of).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        self.seeds.iter().filter_map(of_seed).collect()
    }

    /// The headline scores of an arm on a task, over the seeds that every candidate has on every task, or over its own
    /// where it has none of those.
    pub(crate) fn scores(&self, arm: &ArmRows, task: &str) -> Vec<f64> {
        let has = |arm: &ArmRows, seed: &String| {
            self.tasks.iter().all(|task| arm.scores.contains_key(&(task.name.clone(), seed.clone())))
        };
        let baseline = self.arms.iter().find(|arm| arm.baseline);
        let finished = baseline.map_or(0, |arm| self.seeds.iter().filter(|seed| has(arm, seed)).count());
        // The ranked ones, as a comparison has them: an arm with fewer pairs would leave the others hardly a seed.
        let ranked: Vec<&ArmRows> = self
            .arms
            .iter()
            .filter(|arm| arm.baseline || arm.role == Role::Candidate)
            .filter(|arm| 2 * self.seeds.iter().filter(|seed| has(arm, seed)).count() >= finished)
            .collect();
        let of = |seed: &String| arm.scores.get(&(task.to_string(), seed.clone())).copied();
        let common = self.seeds.iter().filter(|seed| ranked.iter().all(|arm| has(arm, seed)));
        let found: Vec<f64> = common.filter_map(of).collect();
        if found.is_empty() { self.seeds.iter().filter_map(of).collect() } else { found }
    }

    /// The curves of `regimes.csv`, by relation in the order of the rows, each by rising ratio.
    pub(crate) fn curves(&self) -> Vec<RegimeCurve> {
        let mut curves: Vec<RegimeCurve> = Vec::new();
        for row in &self.regimes {
            match curves.iter_mut().find(|curve| curve.relation == row.relation) {
                Some(curve) => curve.points.push(row.point),
                None => curves.push(RegimeCurve { relation: row.relation.clone(), points: vec![row.point] }),
            }
        }
        curves.iter_mut().for_each(|curve| curve.points.sort_by(|a, b| a.ratio.total_cmp(&b.ratio)));
        curves
    }
}

/// The role of a row; of rows of programs that wrote none, a control's where there is a control.
fn role(line: &Line) -> Result<Role> {
    let known = [Role::Candidate, Role::Control, Role::Oracle, Role::Portfolio];
    match line.maybe("role") {
        Some(name) => known.into_iter().find(|role| role.name() == name).with_context(|| {
            let names = known.map(Role::name).join(", ");
            format!("{}, column `role`: `{name}` is none of {names}", line.place)
        }),
        None => Ok(if line.maybe("control").is_some() { Role::Control } else { Role::Candidate }),
    }
}
