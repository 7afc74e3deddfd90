//! A member of the registry of rules. [`Registry<Rule>`](mtl_task::Registry) holds the built-in ones by default, and
//! takes those of a program: every field is public, so that another crate can write its own constant.

use mtl_task::TaskId;
use serde_json::Value;

use crate::{Class, Property, Weighting};

/// Builds a rule for the tasks of these indices from settings that are written for all tasks of the recipe.
pub type Select = fn(settings: &Value, tasks: &[usize]) -> Result<Weighting, String>;

/// A weighting rule: what it is called, what it claims, and how it is built.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name a recipe uses.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// One line for `list`.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Whether an independent oracle confirms it: a golden case, a peer's trace or a closed form.
    pub verified: bool,
    /// What it sees of a step. A rule of [`Class::Losses`] needs no task's gradient on its own, nor their Gram matrix.
    pub class: Class,
    /// What it claims with its default settings.
    pub properties: &'static [Property],
    /// Builds it for so many tasks from its settings, an object; unknown keys are refused with the nearest known.
    pub build: fn(tasks: usize, settings: &Value) -> Result<Weighting, String>,
    /// Builds it for some of the tasks that its settings are written for, by their indices in ascending order. `None`
    /// if `build` for as many tasks with the same settings does: if they name no task and bound no number of tasks.
    pub select: Option<Select>,
    /// Its settings with their default values, an object.
    pub defaults: fn() -> Value,
    /// The text of its source file, which [`mtl_task::page`] makes a page of.
    pub source: &'static str,
}

impl Rule {
    /// The rule over `tasks`, in ascending order, out of the `of` tasks that `settings` are written for.
    ///
    /// # Errors
    /// If the settings are not this rule's, or do not fit that many tasks.
    pub fn over(&self, settings: &Value, tasks: &[TaskId], of: usize) -> Result<Weighting, String> {
        match self.select {
            Some(select) if tasks.len() < of => {
                let indices: Vec<usize> = tasks.iter().map(|task| task.0).collect();
                select(settings, &indices)
            }
            _ => (self.build)(tasks.len(), settings),
        }
    }
}
