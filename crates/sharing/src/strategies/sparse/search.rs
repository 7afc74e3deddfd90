//! The search for masks: which phase of the run does what, and what is remembered in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Part, values_of};
use mtl_task::TaskId;

use super::masks::Masks;
use super::{Criterion, Sparse};
use crate::{EncoderWeights, Phase};

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

/// The search, wherever it stands.
pub(super) struct Search {
    settings: Sparse,
    pub(super) tasks: Vec<String>,
    pub(super) prunable: Masks,
    encoder: Arc<Family>,
    stage: Option<Stage>,
    /// Where to rewind to, part by part; only while searching.
    origin: Vec<Tensor>,
    /// The mask under which the searching task trains.
    current: Option<Masks>,
    /// The searching task's best mask so far.
    best: Option<Masks>,
    /// Share of prunable weights kept and score on dev, for each task's rounds so far.
    pub(super) candidates: Vec<Vec<[f64; 2]>>,
    /// The tasks' masks, as far as they are found.
    pub(super) chosen: Vec<Option<Masks>>,
}

impl Search {
    pub(super) fn new(settings: Sparse, tasks: Vec<String>, encoder: Arc<Family>) -> Self {
        let (candidates, chosen) = (vec![Vec::new(); tasks.len()], vec![None; tasks.len()]);
        let prunable = Masks::prunable(&encoder);
        let (stage, origin, current, best) = (None, Vec::new(), None, None);
        Self { settings, tasks, prunable, encoder, stage, origin, current, best, candidates, chosen }
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
        let training = (share(self.settings.search) / trainings.max(1)).max(1);
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

    /// Ends the training that has just reached `score`: keeps its mask if none was better, prunes, and rewinds.
    pub(super) fn close(&mut self, score: f64, shared: &EncoderWeights) -> Result<()> {
        let Some(Stage::Search { task, round }) = self.stage else { return Ok(()) };
        let total = self.prunable.ones();
        let current = self.current.take().unwrap_or_else(|| Masks::full(&self.encoder));
        let kept = current.and(&self.prunable).ones() as f64 / total.max(1) as f64;
        self.candidates[task].push([kept, score]);
        if self.favourite(task) == Some(round) {
            self.best = Some(current.clone());
        }
        if round < self.settings.rounds {
            let share = self.settings.final_rate.powf((round + 1) as f64 / self.settings.rounds as f64);
            let keep = (share * total as f64).round() as usize;
            self.current = Some(current.pruned(&self.prunable, &self.scores(shared)?, keep));
        } else {
            self.chosen[task] = self.best.take();
        }
        for (param, origin) in shared.iter().zip(&self.origin) {
            param.var().set(origin)?;
        }
        Ok(())
    }

    /// The round to take of those that `task` has been through: not the full mask's.
    pub(super) fn favourite(&self, task: usize) -> Option<usize> {
        let rounds = self.candidates[task].iter().enumerate().skip(1);
        match self.settings.round {
            // A score that is not a number loses to any that is.
            0 => rounds
                .map(|(round, [_, score])| (round, if score.is_nan() { f64::NEG_INFINITY } else { *score }))
                .max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
                .map(|(round, _)| round),
            fixed => Some(fixed),
        }
    }

    /// How much each weight of the layers deserves to stay.
    fn scores(&self, shared: &EncoderWeights) -> Result<Vec<Vec<f32>>> {
        fn magnitudes(values: &Flat) -> Vec<f32> {
            (0..values.len()).map(|at| values.at(at).abs() as f32).collect()
        }
        // The first two parts lie below the layers.
        let layer = |index: usize| {
            let mut scores = magnitudes(&values_of(shared.part(Part::Layer(index)))?);
            if self.settings.criterion == Criterion::Increase {
                let before = magnitudes(&Flat::of(&self.origin[index + 2])?);
                scores.iter_mut().zip(before).for_each(|(score, before)| *score -= before);
            }
            Ok(scores)
        };
        (0..self.encoder.layers()).map(layer).collect()
    }

    /// Begins the `phase`-th phase.
    pub(super) fn open(&mut self, phase: usize, shared: &EncoderWeights) -> Result<()> {
        self.stage = self.stage(phase);
        match self.stage {
            Some(Stage::Search { .. }) if self.origin.is_empty() => {
                self.origin = shared.iter().map(|param| param.tensor().detach().copy()).collect::<Result<_>>()?;
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
            let values = Tensor::from_vec(rounds.concat(), (rounds.len(), 2), &Device::Cpu)?;
            state.insert(format!("candidates.{task}"), values);
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
            *rounds = saved.unwrap_or_default().iter().map(|pair| [pair[0], pair[1]]).collect();
        }
        self.stage = self.stage(phase);
        let parts = encoder.layers() + 2;
        self.origin = (0..parts).map_while(|index| state.get(&format!("origin/{index}")).cloned()).collect();
        let found = self.chosen.iter().filter(|masks| masks.is_some()).count();
        let (wanted, origin) = match self.stage {
            Some(Stage::Search { task, .. }) => (task, parts),
            Some(Stage::Masked) => (self.tasks.len(), 0),
            _ => (0, 0),
        };
        if found != wanted || self.origin.len() != origin {
            candle_core::bail!(
                "not a state of sparse sharing in phase {phase}: masks of {found} tasks and {} rewound parts, expected \
                 {wanted} and {origin}",
                self.origin.len()
            );
        }
        Ok(())
    }
}
