//! The search for masks: which phase of the run does what, and what is remembered in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Param, values_of};
use mtl_task::TaskId;

use super::masks::Masks;
use super::{Criterion, Sparse};
use crate::Phase;
use crate::blocks::values::copied;

/// What a phase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// All tasks, full masks.
    WarmUp,
    /// One task trains under the mask of its `round`-th pruning.
    Search { task: usize, round: usize },
    /// All tasks, each under its own mask.
    Masked,
}

/// What one training of the search came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Share of the prunable weights that its mask keeps.
    pub(super) kept: f64,
    /// Its score on dev.
    pub(super) score: f64,
    /// Its steps.
    pub(super) steps: usize,
}

/// The search, wherever it stands.
pub(super) struct Search {
    pub(super) settings: Sparse,
    pub(super) tasks: Vec<String>,
    pub(super) prunable: Masks,
    encoder: Arc<Family>,
    /// What is rewound: the encoder's parts, bottom up, then the heads.
    params: Vec<Param>,
    stage: Option<Stage>,
    /// Where to rewind those to; only while searching.
    origin: Vec<Tensor>,
    /// The mask under which the searching task trains.
    current: Option<Masks>,
    /// The searching task's best mask so far.
    best: Option<Masks>,
    /// Steps of the training that runs.
    steps: usize,
    /// Each task's rounds so far.
    pub(super) candidates: Vec<Vec<Candidate>>,
    /// Score of each task's baseline on dev, where it is known.
    pub(super) baselines: Vec<Option<f64>>,
    /// The tasks' masks, as far as they are found.
    pub(super) chosen: Vec<Option<Masks>>,
}

impl Search {
    pub(super) fn new(settings: Sparse, tasks: Vec<String>, encoder: Arc<Family>, params: Vec<Param>) -> Self {
        Self {
            settings,
            prunable: Masks::prunable(&encoder),
            encoder,
            params,
            stage: None,
            origin: Vec::new(),
            current: None,
            best: None,
            steps: 0,
            candidates: vec![Vec::new(); tasks.len()],
            baselines: vec![None; tasks.len()],
            chosen: vec![None; tasks.len()],
            tasks,
        }
    }

    fn trainings(&self) -> usize {
        self.settings.rounds + 1
    }

    /// What the `phase`-th phase is for; after the last one it stays as it was in it.
    pub(super) fn stage(&self, phase: usize) -> Option<Stage> {
        let warm_up = usize::from(self.settings.warm_up > 0.);
        let Some(at) = phase.checked_sub(warm_up) else { return Some(Stage::WarmUp) };
        let (task, round) = (at / self.trainings(), at % self.trainings());
        Some(if task < self.tasks.len() { Stage::Search { task, round } } else { Stage::Masked })
    }

    /// How `budget` steps are spent.
    pub(super) fn phases(&self, budget: usize) -> Vec<Phase> {
        let share = |fraction: f64| (fraction * budget as f64) as usize;
        let trainings = self.tasks.len() * self.trainings();
        let warm_up = if self.settings.warm_up > 0. { share(self.settings.warm_up).max(1) } else { 0 };
        // More than the fraction allows, if need be, but a quarter of the run stays for the masks that are found.
        let room = budget.saturating_sub(warm_up + budget.div_ceil(4)) / trainings.max(1);
        let training = (share(self.settings.search) / trainings.max(1)).max(self.settings.minimum.min(room)).max(1);
        let rest = budget.saturating_sub(warm_up + trainings * training).max(1);
        let phase = |name: String, steps: usize, tasks: Option<Vec<TaskId>>| Phase {
            name,
            steps,
            tasks,
            reset_optimizer: true,
        };
        let mut phases = Vec::new();
        while let Some(stage) = self.stage(phases.len()) {
            phases.push(match stage {
                Stage::WarmUp => phase("warm-up".into(), warm_up, None),
                Stage::Search { task, round } => {
                    phase(format!("search {} {round}", self.tasks[task]), training, Some(vec![TaskId(task)]))
                }
                Stage::Masked => {
                    phases.push(phase("train".into(), rest, None));
                    break;
                }
            });
        }
        phases
    }

    /// The mask that `task` sees now, if it has one.
    pub(super) fn masks(&self, task: TaskId) -> Option<&Masks> {
        match self.stage {
            Some(Stage::Search { task: searching, .. }) if searching == task.0 => self.current.as_ref(),
            Some(Stage::Masked) => self.chosen[task.0].as_ref(),
            _ => None,
        }
    }

    /// The masks found so far.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &Masks> {
        self.chosen.iter().flatten()
    }

    /// Counts a step.
    pub(super) fn count(&mut self) {
        self.steps += usize::from(matches!(self.stage, Some(Stage::Search { .. })));
    }

    /// Ends the training that has just reached `score`: keeps its mask if none was better, prunes, and rewinds.
    pub(super) fn close(&mut self, score: f64, baseline: Option<f64>) -> Result<()> {
        let Some(Stage::Search { task, round }) = self.stage else { return Ok(()) };
        let total = self.prunable.ones();
        let current = self.current.take().unwrap_or_else(|| Masks::full(&self.encoder));
        let kept = current.and(&self.prunable).ones() as f64 / total.max(1) as f64;
        self.candidates[task].push(Candidate { kept, score, steps: std::mem::take(&mut self.steps) });
        self.baselines[task] = baseline;
        if self.favourite(task) == Some(round) {
            self.best = Some(current.clone());
        }
        if round < self.settings.rounds {
            let share = self.settings.final_rate.powf((round + 1) as f64 / self.settings.rounds as f64);
            let keep = (share * total as f64).round() as usize;
            self.current = Some(current.pruned(&self.prunable, &self.scores()?, keep));
        } else {
            self.chosen[task] = self.best.take();
        }
        for (param, origin) in self.params.iter().zip(&self.origin) {
            param.var().set(origin)?;
        }
        Ok(())
    }

    /// The pruned candidates of `task`, with their rounds.
    pub(super) fn pruned(&self, task: usize) -> impl Iterator<Item = (usize, &Candidate)> {
        self.candidates[task].iter().enumerate().skip(1)
    }

    /// Whether no pruned candidate of `task` is known to have beaten its baseline.
    pub(super) fn at_baseline(&self, task: usize) -> bool {
        let beaten = |baseline: f64| self.pruned(task).any(|(_, candidate)| candidate.score > baseline + 1e-12);
        self.baselines[task].is_some_and(|baseline| !beaten(baseline))
    }

    /// The round to take of those that `task` has been through: not the full mask's.
    pub(super) fn favourite(&self, task: usize) -> Option<usize> {
        match self.settings.round {
            // Every mask is as good as any: the one that takes the least away.
            0 if self.at_baseline(task) => self.pruned(task).next().map(|(round, _)| round),
            // A score that is not a number loses to any that is.
            0 => (self.pruned(task))
                .map(|(round, found)| (round, if found.score.is_nan() { f64::NEG_INFINITY } else { found.score }))
                .max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
                .map(|(round, _)| round),
            fixed => Some(fixed),
        }
    }

    /// How much each weight of the layers deserves to stay.
    fn scores(&self) -> Result<Vec<Vec<f32>>> {
        fn magnitudes(values: &Flat) -> Vec<f32> {
            (0..values.len()).map(|at| values.at(at).abs() as f32).collect()
        }
        // The first two parts lie below the layers.
        let layer = |index: usize| {
            let mut scores = magnitudes(&values_of(&self.params[index + 2])?);
            if self.settings.criterion == Criterion::Increase {
                let before = magnitudes(&Flat::of(&self.origin[index + 2])?);
                scores.iter_mut().zip(before).for_each(|(score, before)| *score -= before);
            }
            Ok(scores)
        };
        (0..self.encoder.layers()).map(layer).collect()
    }

    /// Begins the `phase`-th phase.
    pub(super) fn open(&mut self, phase: usize) -> Result<()> {
        self.stage = self.stage(phase);
        match self.stage {
            Some(Stage::Search { .. }) if self.origin.is_empty() => {
                self.origin = self.params.iter().map(|param| copied(param.tensor())).collect::<Result<_>>()?;
            }
            Some(Stage::Masked) => self.origin.clear(),
            _ => {}
        }
        Ok(())
    }

    /// Masks as bytes, the candidates' scores, and the weights to rewind to.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        let chosen = self.tasks.iter().zip(&self.chosen).map(|(task, masks)| (format!("chosen.{task}"), masks));
        for (scope, masks) in chosen.chain([("current".into(), &self.current), ("best".into(), &self.best)]) {
            for (index, tensor) in
                masks.iter().map(Masks::tensors).collect::<Result<Vec<_>>>()?.concat().iter().enumerate()
            {
                state.insert(format!("{scope}/layer.{index}"), tensor.clone());
            }
        }
        for (task, rounds) in self.tasks.iter().zip(&self.candidates).filter(|(_, rounds)| !rounds.is_empty()) {
            let values = rounds.iter().flat_map(|found| [found.kept, found.score, found.steps as f64]).collect();
            state.insert(format!("candidates.{task}"), Tensor::from_vec(values, (rounds.len(), 3), &Device::Cpu)?);
        }
        for (task, baseline) in self.tasks.iter().zip(&self.baselines) {
            if let Some(baseline) = baseline {
                state.insert(format!("baseline.{task}"), Tensor::new(*baseline, &Device::Cpu)?);
            }
        }
        if self.steps > 0 {
            state.insert("steps".into(), Tensor::new(self.steps as f64, &Device::Cpu)?);
        }
        for (index, tensor) in self.origin.iter().enumerate() {
            state.insert(format!("origin/{index}"), tensor.to_device(&Device::Cpu)?);
        }
        Ok(state)
    }

    /// Continues from `state` inside the `phase`-th phase.
    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>, phase: usize) -> Result<()> {
        let encoder = self.encoder.clone();
        let masks = |scope: &str| -> Result<Option<Masks>> {
            let names = (0..encoder.layers()).map(|index| format!("{scope}/layer.{index}"));
            match names.map(|name| state.get(&name)).collect::<Option<Vec<&Tensor>>>() {
                Some(tensors) => Ok(Some(Masks::of_tensors(&encoder, &tensors)?)),
                None => Ok(None),
            }
        };
        (self.current, self.best) = (masks("current")?, masks("best")?);
        self.chosen = self.tasks.iter().map(|task| masks(&format!("chosen.{task}"))).collect::<Result<_>>()?;
        for (task, rounds) in self.tasks.iter().zip(&mut self.candidates) {
            let saved = state.get(&format!("candidates.{task}")).map(Tensor::to_vec2::<f64>).transpose()?;
            // States of before steps were counted have two columns.
            let steps = |row: &Vec<f64>| row.get(2).copied().unwrap_or(0.) as usize;
            let candidate = |row: &Vec<f64>| Candidate { kept: row[0], score: row[1], steps: steps(row) };
            *rounds = saved.unwrap_or_default().iter().map(candidate).collect();
        }
        let number = |name: &str| state.get(name).map(Tensor::to_scalar::<f64>).transpose();
        self.steps = number("steps")?.unwrap_or(0.) as usize;
        self.baselines = self.tasks.iter().map(|task| number(&format!("baseline.{task}"))).collect::<Result<_>>()?;
        self.stage = self.stage(phase);
        // A state lies on the host; what the parameters are rewound to lies where they do.
        let there = |(index, param): (usize, &Param)| {
            Some(state.get(&format!("origin/{index}"))?.to_device(param.tensor().device()))
        };
        self.origin = self.params.iter().enumerate().map_while(there).collect::<Result<_>>()?;
        let parts = self.params.len();
        let found = self.chosen.iter().filter(|masks| masks.is_some()).count();
        let (wanted, origin) = match self.stage {
            Some(Stage::Search { task, .. }) => (task, parts),
            Some(Stage::Masked) => (self.tasks.len(), 0),
            _ => (0, 0),
        };
        if found != wanted || self.origin.len() != origin {
            candle_core::bail!(
                "not a state of sparse sharing in phase {phase}: masks of {found} tasks and {} rewound parameters, expected \
                 {wanted} and {origin}",
                self.origin.len()
            );
        }
        Ok(())
    }
}
