//! Everything that a run does in its loop, a few times each.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use mtl_data::Example;
use mtl_sharing::Phase;
use mtl_task::{Progress, TaskId};
use serde::Serialize;

use super::disk::{self, Disk, Temporary};
use crate::assemble::Assembled;
use crate::audit::audit_of;
use crate::dev::DevSplits;
use crate::memory::{BatchLengths, phase_of};
use crate::recipe::Recipe;
use crate::resume::{self, LAST, RunState};
use crate::run::loader::DataLoader;
use crate::schedule;

/// Seconds that a run takes, on this machine as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Time {
    /// A step of ordinary length.
    pub step: f64,
    /// Evaluations on dev.
    pub evaluations: usize,
    /// One of them.
    pub evaluation: f64,
    /// The answers to train, dev and test for the report.
    pub report: f64,
    /// A checkpoint.
    pub checkpoint: f64,
    /// All of it.
    pub total: f64,
}

pub(super) struct Rehearsed {
    pub(super) time: Time,
    pub(super) disk: Disk,
    pub(super) zero_gradients: Vec<String>,
}

/// Takes the steps of `lengths` that are longest and some that are ordinary, in every phase at least its first; answers
/// texts; saves and restores.
pub(super) fn rehearse(
    recipe: &Recipe,
    assembled: &mut Assembled,
    loader: &DataLoader,
    phases: &[Phase],
    lengths: &BatchLengths,
) -> Result<Rehearsed> {
    let zero_gradients = audited(assembled, loader)?;
    let step = steps(recipe, assembled, loader, phases, lengths)?;
    let tokens_per_second = answer(recipe, assembled)?;
    let (checkpoint, bytes) = save(assembled, phases.len())?;

    let steps: usize = phases.iter().map(|phase| phase.steps).sum();
    let last = phases.last().map_or(0, |phase| phase.steps);
    let evaluations = match recipe.evaluation.every {
        0 => 1,
        every => last.div_ceil(every).max(1),
    };
    let saving = if recipe.train.save_every > 0 { recipe.train.save_every } else { recipe.evaluation.every };
    // The end is saved too, and every evaluation that is the best so far.
    let saves = 1 + evaluations + steps.checked_div(saving).unwrap_or(0);
    let seconds = |tokens: usize| tokens as f64 / tokens_per_second.max(1e-9);
    let (dev, test) = (dev_tokens(assembled), test_tokens(recipe, assembled));
    let curve = if recipe.evaluation.train_curve { 2 } else { 1 };
    let (evaluation, report) = (seconds(curve * dev), seconds(2 * dev + test));
    let disk = Disk::of(recipe, assembled, bytes, evaluations)?;
    // At most, every evaluation is the best so far for every task.
    let each = evaluations as f64 * disk.each as f64 / bytes.max(1) as f64;
    let total = steps as f64 * step + evaluations as f64 * evaluation + report + (saves as f64 + each) * checkpoint;
    let time = Time { step, evaluations, evaluation, report, checkpoint, total };
    Ok(Rehearsed { time, disk, zero_gradients })
}

/// The audit that every run begins with.
fn audited(assembled: &Assembled, loader: &DataLoader) -> Result<Vec<String>> {
    let trainer = &assembled.trainer;
    let mut batches = loader.first(assembled);
    batches.retain(|batch| trainer.is_learnable(batch));
    let tasks: Vec<TaskId> = batches.iter().map(|batch| batch.task).collect();
    audit_of(&trainer.model, &tasks, &trainer.gradients(&batches)?)
}

/// Takes some of the run's steps; seconds of an ordinary one.
fn steps(
    recipe: &Recipe,
    assembled: &mut Assembled,
    loader: &DataLoader,
    phases: &[Phase],
    lengths: &BatchLengths,
) -> Result<f64> {
    let of: usize = phases.iter().map(|phase| phase.steps).sum();
    let starts: Vec<usize> = phases
        .iter()
        .scan(0, |sum, phase| {
            *sum += phase.steps;
            Some(*sum - phase.steps)
        })
        .collect();
    let ordinary: BTreeSet<usize> = lengths.ordinary.iter().copied().collect();
    let chosen: BTreeSet<usize> = starts.iter().chain(&lengths.longest).chain(&lengths.ordinary).copied().collect();
    let (mut entered, mut seconds) = (0, Vec::new());
    for (taken, step) in chosen.into_iter().enumerate() {
        let Some(at) = phase_of(phases, step) else { continue };
        while entered <= at {
            enter(recipe, assembled, entered)?;
            if phases[entered].reset_optimizer {
                assembled.trainer.optimizer.reset();
            }
            entered += 1;
        }
        let phase = &phases[at];
        let (place, among) = if phase.reset_optimizer { (step - starts[at], phase.steps) } else { (step, of) };
        let factor = schedule::factor(&recipe.registries.schedules, &recipe.schedule, place, among)?;
        let batches = loader.mini_batches(assembled, step, phase)?;
        let splits = DevSplits { datasets: &assembled.datasets, batch: recipe.evaluation.batch };
        let started = Instant::now();
        let rate = recipe.base_rate()? * factor;
        assembled.trainer.step(&batches, Progress { step, of }, rate, &splits)?;
        // The first step makes what the others find.
        if taken > 0 && ordinary.contains(&step) {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    while entered <= phases.len() {
        enter(recipe, assembled, entered)?;
        entered += 1;
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds.get(seconds.len() / 2).copied().unwrap_or(0.))
}

fn enter(recipe: &Recipe, assembled: &mut Assembled, phase: usize) -> Result<()> {
    let splits = DevSplits { datasets: &assembled.datasets, batch: recipe.evaluation.batch };
    assembled.trainer.enter(phase, &splits)
}

/// Answers the longest texts of every task's dev split, a batch of them; tokens a second.
fn answer(recipe: &Recipe, assembled: &Assembled) -> Result<f64> {
    let batch = recipe.evaluation.batch.max(1);
    let (mut tokens, mut seconds) = (0, 0.);
    for (task, dataset) in assembled.datasets.iter().enumerate() {
        let mut longest: Vec<Example> = dataset.dev.examples.clone();
        longest.sort_by_key(|example| std::cmp::Reverse(example.encoded.ids.len()));
        longest.truncate(batch);
        let started = Instant::now();
        assembled.trainer.answers(TaskId(task), &longest, batch)?;
        seconds += started.elapsed().as_secs_f64();
        tokens += length(&longest);
    }
    Ok(tokens as f64 / f64::max(seconds, 1e-9))
}

/// Saves a checkpoint of phase `phase` where nobody finds it, and restores it; seconds of the save, and bytes.
fn save(assembled: &mut Assembled, phase: usize) -> Result<(f64, u64)> {
    let folder = Temporary::new()?;
    let started = Instant::now();
    resume::save(folder.path(), LAST, &assembled.trainer, &RunState { phase, ..RunState::default() })?;
    let seconds = started.elapsed().as_secs_f64();
    let bytes = disk::size(folder.path())?;
    resume::restore(&folder.path().join(LAST), &mut assembled.trainer)?;
    Ok((seconds, bytes))
}

fn length(examples: &[Example]) -> usize {
    examples.iter().map(|example| example.encoded.ids.len()).sum()
}

fn dev_tokens(assembled: &Assembled) -> usize {
    assembled.datasets.iter().map(|dataset| length(&dataset.dev.examples)).sum()
}

/// Tokens of test, which stays sealed: its texts are taken to be as long as those of dev.
fn test_tokens(recipe: &Recipe, assembled: &Assembled) -> usize {
    if recipe.evaluation.test == crate::Test::Sealed {
        return 0;
    }
    let of = |dataset: &mtl_data::Dataset| {
        let mean = length(&dataset.dev.examples) as f64 / dataset.dev.examples.len().max(1) as f64;
        (dataset.test_size() as f64 * mean) as usize
    };
    assembled.datasets.iter().map(of).sum()
}
