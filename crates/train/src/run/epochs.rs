//! From epochs to steps, once the data is there.

use anyhow::{Context, Result};
use candle_core::Device;
use mtl_task::TaskId;

use super::loader::DataLoader;
use crate::assemble::Assembled;
use crate::recipe::Recipe;

/// A recipe whose steps are known, the loader of its steps, and what is to be said of how they came about.
pub(crate) struct Paced {
    pub(crate) recipe: Recipe,
    pub(crate) loader: DataLoader,
    pub(crate) note: Option<String>,
}

impl Paced {
    /// Of `recipe`, which `assembled` was built by and takes on.
    ///
    /// # Errors
    /// If a task has no example, or its epochs are no number of steps.
    pub(crate) fn new(recipe: Recipe, assembled: &mut Assembled, device: &Device) -> Result<Self> {
        let loader = DataLoader::new(&recipe, assembled, device)?;
        let Some(epochs) = recipe.train.epochs else { return Ok(Self { recipe, loader, note: None }) };
        let sizes: Vec<usize> = (0..assembled.datasets.len()).map(|task| loader.size_of(TaskId(task))).collect();
        let named = recipe.train.epochs_of.as_ref();
        let task = match named {
            Some(name) => assembled.datasets.iter().position(|dataset| dataset.name == *name),
            // The first of equals.
            None => (0..sizes.len()).rev().max_by_key(|&task| sizes.get(task)),
        };
        let task = task.context("train.epochs_of names no task")?;
        let (examples, name) = (sizes.get(task).copied().unwrap_or(0), assembled.datasets[task].name.clone());
        // Where shares move with training, how many examples a step has depends on how many steps there are.
        let mut steps = 1.;
        for _ in 0..32 {
            let mean = loader.mean_count(TaskId(task), steps as usize);
            let next = (epochs * examples as f64 / mean).ceil().max(1.);
            if next == steps {
                break;
            }
            steps = next;
        }
        let recipe = recipe.with_steps(steps)?;
        let note =
            format!("train.epochs: {epochs} over the {examples} examples of {name} are {} steps", recipe.train.steps);
        assembled.trainer.recipe = recipe.clone();
        let loader = DataLoader::new(&recipe, assembled, device)?;
        Ok(Self { recipe, loader, note: Some(note) })
    }
}
