//! Single task: wᵢ = 1 for `task`, 0 for the others, so that only its gradient reaches the shared parameters.
//!
//! The baseline "what would this task do alone" inside a multi-task recipe (the Nash-MTL code's `STL`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Class, Entry, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "single-task",
    aliases: &["stl"],
    about: "one task alone",
    paper: "Navon et al., ICML 2022 (baseline)",
    verified: true,
    class: Class::Losses,
    properties: &[Property::ScaleInvariant, Property::LinearUnderScaling],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The task, counted from 0 in the recipe's order.
    task: usize,
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { task } = settings::read(ENTRY.name, given)?;
    if task >= tasks {
        return Err(format!("`single-task` names task {task}, but the {tasks} tasks are counted from 0"));
    }
    Ok(Weighting::Losses(Box::new(SingleTask { tasks, task })))
}

struct SingleTask {
    tasks: usize,
    task: usize,
}

impl Rule for SingleTask {}

impl FromLosses for SingleTask {
    fn balance(&mut self, _seen: &StepInputs) -> Outcome {
        Outcome::exact((0..self.tasks).map(|task| if task == self.task { 1.0 } else { 0.0 }).collect())
    }
}
