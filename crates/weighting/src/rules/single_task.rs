//! Single task: wᵢ = 1 for `task`, 0 for the others, so that only its gradient reaches the shared parameters.
//!
//! The baseline "what would this task do alone" inside a multi-task recipe (the Nash-MTL code's `STL`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "single-task",
    aliases: &["stl"],
    about: "one task alone",
    paper: "Navon et al., ICML 2022 (baseline)",
    verified: true,
    class: Class::Losses,
    properties: &[Property::ScaleInvariant, Property::LinearUnderScaling],
    build,
    select: Some(select),
    defaults: settings::defaults::<SingleTaskSettings>,
    source: include_str!("single_task.rs"),
};

/// The settings of `rule = "single-task"`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SingleTaskSettings {
    /// The task, counted from 0 in the recipe's order.
    pub task: usize,
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let SingleTaskSettings { task } = settings::read(RULE.name, given)?;
    if task >= tasks {
        return Err(format!("`single-task` names task {task}, but the {tasks} tasks are counted from 0"));
    }
    Ok(Weighting::Losses(Box::new(SingleTask { tasks, task })))
}

/// Where the task is not among them, all have weight 0.
fn select(given: &Value, tasks: &[usize]) -> Result<Weighting, String> {
    let SingleTaskSettings { task } = settings::read(RULE.name, given)?;
    let place = tasks.iter().position(|known| *known == task).unwrap_or(tasks.len());
    Ok(Weighting::Losses(Box::new(SingleTask { tasks: tasks.len(), task: place })))
}

struct SingleTask {
    tasks: usize,
    task: usize,
}

impl WeightingRule for SingleTask {}

impl FromLosses for SingleTask {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, _seen: &StepInputs) -> Outcome {
        Outcome::exact((0..self.tasks).map(|task| if task == self.task { 1.0 } else { 0.0 }).collect())
    }
}
