//! Looks at dev on the way of a candidate: what each of its tasks lost on every dev example, and the weights of the best
//! look.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Tensor;
use mtl_task::TaskId;
use mtl_train::{Assembled, Observer, OnDev, Plan, StepReport, write_atomically, write_tensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file of a candidate's looks, in its folder.
const LOOKS: &str = "looks.json";

/// A task on dev at one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The headline score.
    pub(super) score: f64,
    /// The loss of every dev example, in the order of the split.
    pub(super) losses: Vec<f64>,
}

impl Seen {
    pub(super) fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }
}

impl From<OnDev> for Seen {
    fn from(found: OnDev) -> Self {
        Self { score: found.score, losses: found.losses }
    }
}

/// A candidate at one moment of its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Look {
    /// Steps done.
    pub(super) step: usize,
    /// Task by task in the recipe's order; none for one that trains no longer.
    pub(super) tasks: Vec<Option<Seen>>,
    /// Sets of tasks that share parameters, by their places: each is kept as a whole.
    pub(super) units: Vec<Vec<usize>>,
    /// For each task the first one of its unit that sees the same encoder.
    pub(super) encoders: Vec<usize>,
    /// Whether a penalty ties the units together, so that none can be trained without the others.
    pub(super) tied: bool,
    /// Parameters, heads included.
    pub(super) parameters: usize,
    /// What the strategy found.
    pub(super) findings: Value,
}

impl Look {
    /// The tasks that `task` shares parameters with, itself included.
    pub(super) fn unit(&self, task: usize) -> &[usize] {
        self.units.iter().find(|unit| unit.contains(&task)).map_or(&[], Vec::as_slice)
    }

    /// The first task of the unit of `task` that sees the encoder that it does.
    pub(super) fn encoder(&self, task: usize) -> usize {
        self.encoders.get(task).copied().unwrap_or(task)
    }

    /// The tasks that have to train for `task` to train as this candidate does.
    pub(super) fn companions(&self, task: usize) -> Vec<usize> {
        if self.tied { (0..self.tasks.len()).collect() } else { self.unit(task).to_vec() }
    }

    /// Mean score and minus the mean loss over `unit`; none if one of its tasks was not looked at.
    fn merit(&self, unit: &[usize]) -> Option<(f64, f64)> {
        let seen: Vec<&Seen> =
            unit.iter().map(|&task| self.tasks.get(task).and_then(Option::as_ref)).collect::<Option<_>>()?;
        let count = seen.len().max(1) as f64;
        let mean = |of: fn(&Seen) -> f64| seen.iter().map(|seen| of(seen)).sum::<f64>() / count;
        Some((mean(|seen| seen.score), -mean(Seen::loss)))
    }
}

/// All looks at a candidate, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Looks {
    pub(super) looks: Vec<Look>,
    /// Seconds of training.
    pub(super) seconds: f64,
}

impl Looks {
    /// Those in the candidate's `folder`; none if there is no file.
    ///
    /// # Errors
    /// If the file is damaged.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(LOOKS);
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: damaged; begin anew with --fresh", path.display()))
    }

    fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(LOOKS), &serde_json::to_vec(self)?)
    }

    /// The last look after at most `limit` steps.
    pub(super) fn last(&self, limit: usize) -> Option<&Look> {
        self.looks.iter().rfind(|look| look.step <= limit)
    }

    /// The look whose weights stand for `task` after at most `limit` steps: the best mean score on dev over its unit as
    /// it is at the end, the lower loss among equals, the first of those.
    pub(super) fn kept(&self, task: usize, limit: usize) -> Option<&Look> {
        let last =
            self.looks.iter().rfind(|look| look.step <= limit && look.tasks.get(task).is_some_and(Option::is_some))?;
        let unit = last.unit(task);
        let mut best: Option<((f64, f64), &Look)> = None;
        for look in self.looks.iter().filter(|look| look.step <= limit && look.unit(task) == unit) {
            let Some(merit) = look.merit(unit) else { continue };
            if best.is_none_or(|(most, _)| merit > most) {
                best = Some((merit, look));
            }
        }
        best.map(|(_, look)| look)
    }
}

/// Where the weights of the best look at the unit of `task` lie.
pub(super) fn kept_file(folder: &Path, unit: &[usize]) -> PathBuf {
    let name: Vec<String> = unit.iter().map(ToString::to_string).collect();
    folder.join(format!("kept-{}.safetensors", name.join("-")))
}

/// The name in a kept file of a part of the encoder that `task` sees.
pub(super) fn encoder_name(task: usize, part: impl std::fmt::Display) -> String {
    format!("encoder.{task}/{part}")
}

/// The name in a kept file of a parameter of a head.
pub(super) fn head_name(parameter: &str) -> String {
    format!("head/{parameter}")
}

/// Watches a candidate train: looks at dev where it is due, and stops where it is told to.
pub(super) struct Watching<'a> {
    beside: &'a mut dyn Observer,
    folder: PathBuf,
    /// Steps between two looks; 0 for looks at the stops alone.
    every: usize,
    /// Where to pause.
    stop: usize,
    /// The tasks that train.
    active: Vec<usize>,
    at: usize,
    since: Instant,
    pub(super) looks: Looks,
}

impl<'a> Watching<'a> {
    pub(super) fn new(
        beside: &'a mut dyn Observer,
        folder: &Path,
        every: usize,
        stop: usize,
        active: Vec<usize>,
    ) -> Result<Self> {
        let looks = Looks::read(folder)?;
        Ok(Self { beside, folder: folder.to_path_buf(), every, stop, active, at: 0, since: Instant::now(), looks })
    }

    /// Looks at the model as it stands after `step` steps. What was seen at this step before, by a training that a kill
    /// set back, stays: it is the same.
    pub(super) fn look(&mut self, step: usize, assembled: &Assembled) -> Result<()> {
        let model = &assembled.trainer.model;
        if self.looks.looks.last().is_some_and(|look| look.step >= step) {
            return Ok(());
        }
        let mut tasks = vec![None; model.tasks.len()];
        for &task in &self.active {
            if let Some(place) = tasks.get_mut(task) {
                *place = Some(Seen::from(assembled.on_dev(TaskId(task))?));
            }
        }
        let units: Vec<Vec<usize>> = model.topology.components().into_iter().map(Vec::from).collect();
        let mut first: BTreeMap<usize, usize> = BTreeMap::new();
        units.iter().for_each(|unit| first.extend(encoders(unit, assembled)));
        self.looks.looks.push(Look {
            step,
            tasks,
            units,
            encoders: first.into_values().collect(),
            tied: model.sharing.penalty()?.is_some(),
            parameters: model.params.count(),
            findings: model.sharing.findings()?,
        });
        self.keep(step, assembled)?;
        self.looks.seconds += self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.looks.write(&self.folder)
    }

    /// Writes down the weights of every unit whose best look is this one.
    fn keep(&self, step: usize, assembled: &Assembled) -> Result<()> {
        let Some(look) = self.looks.last(step) else { return Ok(()) };
        for unit in &look.units {
            let best = |task: &usize| self.looks.kept(*task, step).is_some_and(|look| look.step == step);
            if unit.first().is_some_and(best) {
                write_tensors(&kept_file(&self.folder, unit), &weights(unit, assembled)?)?;
            }
        }
        Ok(())
    }
}

/// What the tasks of `unit` answer by: each one's encoder as plain weights, once for tasks that see the same, and heads.
fn weights(unit: &[usize], assembled: &Assembled) -> Result<BTreeMap<String, Tensor>> {
    let model = &assembled.trainer.model;
    let mut found = BTreeMap::new();
    for (task, first) in encoders(unit, assembled) {
        for name in model.head(TaskId(task)) {
            let param = model.params.get(&name).with_context(|| format!("no parameter `{name}`"))?;
            found.insert(head_name(&name), param.snapshot()?);
        }
        if task != first {
            continue;
        }
        let name = &model.tasks.get(task).context("a task of the model")?.name;
        let merged = model.sharing.merged(TaskId(task))?;
        let merged = merged.with_context(|| format!("what the task `{name}` sees is no plain encoder's weights"))?;
        found.extend(merged.into_iter().map(|(part, values)| (encoder_name(task, part), values)));
    }
    Ok(found)
}

/// Each task of `unit` with the first one that reaches the same parameters beside heads.
fn encoders(unit: &[usize], assembled: &Assembled) -> Vec<(usize, usize)> {
    let model = &assembled.trainer.model;
    let heads: Vec<String> = (0..model.tasks.len()).flat_map(|task| model.head(TaskId(task))).collect();
    let reach = |task: usize| {
        let mut reach = model.reach(TaskId(task));
        reach.retain(|name| !heads.contains(name));
        reach
    };
    let first = |task: usize| unit.iter().copied().find(|&other| reach(other) == reach(task)).unwrap_or(task);
    unit.iter().map(|&task| (task, first(task))).collect()
}

impl Observer for Watching<'_> {
    fn begin(&mut self, plan: &Plan) {
        self.at = plan.from;
        self.since = Instant::now();
        self.beside.begin(&Plan { notes: Vec::new(), ..plan.clone() });
    }

    fn step(&mut self, step: usize, of: usize, rate: f64, report: &StepReport) {
        self.at = step;
        self.beside.step(step, of, rate, report);
    }

    fn measure(&mut self, step: usize, of: usize, assembled: &Assembled) -> Result<()> {
        let due = step > 0 && (step == of || self.every > 0 && step.is_multiple_of(self.every));
        if due { self.look(step, assembled) } else { Ok(()) }
    }

    fn note(&mut self, line: &str) {
        self.beside.note(line);
    }

    fn interrupted(&self) -> bool {
        self.at >= self.stop || self.beside.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(step: usize, scores: &[f64], units: &[&[usize]]) -> Look {
        Look {
            step,
            tasks: scores.iter().map(|&score| Some(Seen { score, losses: vec![1. - score, step as f64] })).collect(),
            encoders: (0..scores.len())
                .map(|task| units.iter().find(|unit| unit.contains(&task)).map_or(task, |unit| unit[0]))
                .collect(),
            units: units.iter().map(|unit| unit.to_vec()).collect(),
            tied: false,
            parameters: 1,
            findings: Value::Null,
        }
    }

    #[test]
    fn a_unit_is_kept_as_a_whole_at_its_best_look() {
        let together: &[&[usize]] = &[&[0, 1]];
        let apart: &[&[usize]] = &[&[0], &[1]];
        let looks = [look(10, &[0.9, 0.1], together), look(20, &[0.6, 0.8], together), look(30, &[0.7, 0.7], together)];
        let mut found = Looks { looks: looks.into(), ..Looks::default() };
        assert_eq!(found.kept(0, 30).map(|look| look.step), Some(20), "the lower loss among equals");
        assert_eq!(found.kept(1, 10).map(|look| look.step), Some(10));
        assert_eq!(found.kept(0, 5), None);
        // After they parted, looks of before do not count.
        found.looks.push(look(40, &[0.5, 0.2], apart));
        assert_eq!(
            (found.kept(0, 40).map(|look| look.step), found.kept(0, 30).map(|look| look.step)),
            (Some(40), Some(20))
        );
        // One that trains no longer stays as it was.
        let mut later = look(50, &[0.1, 0.9], apart);
        later.tasks = vec![None, later.tasks.remove(1)];
        found.looks.push(later);
        assert_eq!(found.kept(0, 50).map(|look| look.step), Some(40));
        assert_eq!(found.kept(1, 50).map(|look| look.step), Some(50));
    }
}
