//! Which examples a step learns from: the sampler's choice as batches, a function of (seed, step).

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use candle_core::Device;
use mtl_data::{Example, Sampler};
use mtl_sharing::Phase;
use mtl_task::rng::Key;
use mtl_task::{TaskBatch, TaskId};

use crate::assemble::Assembled;
use crate::control::Control;
use crate::recipe::{Recipe, StepKind, TaskSettings};

/// Share of a task's training examples that a rule with a validation draw validates on.
const HELD_OUT: f64 = 0.1;

pub(crate) struct DataLoader {
    /// What is learnt.
    learnt: Pool,
    /// What a rule that asks for it validates on, taken out of the training examples.
    held_out: Option<Pool>,
    mini_batches: usize,
    kind: StepKind,
    /// Examples a task in a step, accumulation included, of tasks that do not say otherwise.
    size: usize,
    /// Examples of each task in a micro-batch.
    batches: Vec<usize>,
    accumulate: usize,
    packed: bool,
}

/// Some of each task's training examples, and the order in which they come.
struct Pool {
    sampler: Sampler,
    examples: Vec<Vec<usize>>,
    control: Control,
    /// Names the masks of texts, and what is hidden of them.
    key: Key,
    masks: Key,
}

impl Pool {
    /// Of `examples`, of which every step takes `draws` batches.
    fn new(
        recipe: &Recipe,
        tasks: &[TaskSettings],
        examples: Vec<Vec<usize>>,
        seed: u64,
        draws: usize,
    ) -> Result<Self> {
        let sizes: Vec<usize> = examples.iter().map(Vec::len).collect();
        let sampler = Sampler::new(
            recipe.registries.samplers.find(&recipe.sampler.name)?,
            &recipe.sampler.settings,
            &sizes,
            seed,
        )?
        .paced(recipe.train.steps, draws)
        .weighted(tasks.iter().map(|task| task.weight.unwrap_or(1.)).collect())
        .with_own(tasks.iter().map(|task| task.batch.map(|batch| batch * recipe.train.accumulate)).collect());
        let (key, masks) = (Key::new(seed).named("augment"), Key::new(seed).named("mask"));
        Ok(Self { sampler, examples, control: recipe.control.clone(), key, masks })
    }

    /// The `index`-th draw of `task`, which are the examples `chosen`.
    fn batch(&self, assembled: &Assembled, task: TaskId, index: usize, chosen: &[usize], packed: bool) -> TaskBatch {
        let examples = &self.examples[task.0];
        let teacher = assembled.targets.chosen(task, chosen.iter().map(|&at| examples[at]));
        TaskBatch { teacher, ..self.untaught(assembled, task, index, chosen, packed) }
    }

    /// The same without what a teacher says of it.
    fn untaught(&self, assembled: &Assembled, task: TaskId, index: usize, chosen: &[usize], packed: bool) -> TaskBatch {
        let split = &assembled.datasets[task.0].train;
        let examples = &self.examples[task.0];
        let chosen = chosen.iter().map(|&at| &split.examples[examples[at]]);
        let of = |key: Key, place: usize| key.with(index as u64).with(task.0 as u64).with(place as u64);
        let masked = |(place, example): (usize, &Example)| -> Option<Example> {
            let (kind, key) = (&assembled.trainer.tasks[task.0], of(self.masks, place));
            let (encoded, label) = kind.masked(&example.encoded, &example.label, key)?;
            Some(Example { encoded, label, row: example.row })
        };
        // All of a task's texts, or none of them.
        let anew: Option<Vec<Example>> = chosen.clone().enumerate().map(masked).collect();
        if self.control.augment == 0. {
            return match anew {
                Some(anew) => mtl_data::collate(task, &anew, packed),
                None => mtl_data::collate(task, chosen, packed),
            };
        }
        let hide = |(place, example): (usize, &Example)| {
            self.control.augmented(example, &assembled.tokenizer, of(self.key, place))
        };
        let hidden: Vec<Example> = match &anew {
            Some(anew) => anew.iter().enumerate().map(hide).collect(),
            None => chosen.enumerate().map(hide).collect(),
        };
        mtl_data::collate(task, &hidden, packed)
    }
}

impl DataLoader {
    /// # Errors
    /// If a task has no example, or none is left beside those held out.
    pub(crate) fn new(recipe: &Recipe, assembled: &Assembled, device: &Device) -> Result<Self> {
        let tasks: Vec<TaskSettings> = assembled.datasets.iter().map(|dataset| recipe.task(&dataset.name)).collect();
        let sizes = assembled.datasets.iter().map(|dataset| dataset.train.examples.len());
        let key = Key::new(recipe.train.seed).named("held out");
        let divided = sizes.enumerate().map(|(task, size)| match assembled.trainer.validates() {
            false => ((0..size).collect(), Vec::new()),
            true => {
                let mut order: Vec<usize> = key.with(task as u64).stream().permutation(size);
                let learnt = order.split_off(((size as f64 * HELD_OUT).ceil() as usize).min(size));
                (learnt, order)
            }
        });
        let (learnt, held_out): (Vec<Vec<usize>>, Vec<Vec<usize>>) = divided.unzip();
        let held_out = match assembled.trainer.validates() {
            true => Some(Pool::new(recipe, &tasks, held_out, recipe.train.seed.wrapping_add(1), 1)?),
            false => None,
        };
        let mini_batches = assembled.trainer.mini_batches();
        let draws = mini_batches - usize::from(held_out.is_some());
        Ok(Self {
            learnt: Pool::new(recipe, &tasks, learnt, recipe.train.seed, draws)?,
            held_out,
            mini_batches,
            kind: recipe.train.step,
            size: recipe.train.batch * recipe.train.accumulate,
            batches: tasks.iter().map(|task| task.batch.unwrap_or(recipe.train.batch)).collect(),
            accumulate: recipe.train.accumulate,
            packed: device.is_cpu(),
        })
    }

    /// Training examples of `task`, those held out left aside.
    pub(crate) fn size_of(&self, task: TaskId) -> usize {
        self.learnt.examples.get(task.0).map_or(0, Vec::len)
    }

    /// Mean number of examples of `task` that a step of `steps` learns from.
    pub(crate) fn mean_count(&self, task: TaskId, steps: usize) -> f64 {
        self.learnt.sampler.mean_count(task, self.size, self.kind == StepKind::Joint, steps)
    }

    /// The mini-batches of step `step`, one batch each per task of `phase` that has not left the training.
    pub(crate) fn mini_batches(
        &self,
        assembled: &Assembled,
        step: usize,
        phase: &Phase,
    ) -> Result<Vec<Vec<TaskBatch>>> {
        let learnt = self.mini_batches - usize::from(self.held_out.is_some());
        let ordinary = (0..learnt).map(|draw| self.batches(&self.learnt, assembled, step * learnt + draw, phase));
        ordinary.chain(self.held_out.iter().map(|pool| self.batches(pool, assembled, step, phase))).collect()
    }

    /// A batch of every task, for the audit before the first step.
    pub(crate) fn first(&self, assembled: &Assembled) -> Vec<TaskBatch> {
        (0..assembled.datasets.len())
            .map(|task| {
                let chosen = self.learnt.sampler.examples(TaskId(task), 0, self.batches[task]);
                self.learnt.batch(assembled, TaskId(task), 0, &chosen, self.packed)
            })
            .collect()
    }

    /// The lengths in tokens of the examples that step `step` learns from, task by task, in their order.
    pub(crate) fn lengths(
        &self,
        assembled: &Assembled,
        step: usize,
        phase: &Phase,
    ) -> Result<Vec<(TaskId, Vec<usize>)>> {
        let pool = &self.learnt;
        let learnt = self.mini_batches - usize::from(self.held_out.is_some());
        let length = |task: TaskId, at: usize| {
            assembled.datasets[task.0].train.examples[pool.examples[task.0][at]].encoded.ids.len()
        };
        let lengths =
            |(task, chosen): (TaskId, Vec<usize>)| (task, chosen.into_iter().map(|at| length(task, at)).collect());
        let chosen = self.chosen(pool, step * learnt, phase, assembled.trainer.left())?;
        Ok(chosen.into_iter().map(lengths).collect())
    }

    fn batches(&self, pool: &Pool, assembled: &Assembled, index: usize, phase: &Phase) -> Result<Vec<TaskBatch>> {
        let chosen = self.chosen(pool, index, phase, assembled.trainer.left())?.into_iter();
        Ok(chosen.map(|(task, chosen)| pool.batch(assembled, task, index, &chosen, self.packed)).collect())
    }

    /// The tasks of draw `index` that have not `left`, each with its examples of `pool`.
    fn chosen(
        &self,
        pool: &Pool,
        index: usize,
        phase: &Phase,
        left: &BTreeSet<TaskId>,
    ) -> Result<Vec<(TaskId, Vec<usize>)>> {
        let allowed =
            |task: TaskId| phase.tasks.as_ref().is_none_or(|tasks| tasks.contains(&task)) && !left.contains(&task);
        let mut chosen = match self.kind {
            StepKind::Joint => pool.sampler.joint(index, self.size),
            StepKind::One => pool.sampler.one(index, self.size),
        };
        chosen.retain(|(task, _)| allowed(*task));
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        // Few tasks under one-task steps: the drawn one sits out, and the allowed ones take turns.
        let everyone = || (0..self.batches.len()).map(TaskId).collect();
        let mut tasks: Vec<TaskId> = phase.tasks.clone().unwrap_or_else(everyone);
        tasks.retain(|task| allowed(*task));
        let task = *tasks.get(index % tasks.len().max(1)).context("a phase without tasks")?;
        let size = self.batches[task.0] * self.accumulate;
        Ok(vec![(task, pool.sampler.examples(task, index, size))])
    }
}
