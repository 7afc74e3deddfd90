//! Fixed weights, chosen by hand or by a search outside the run.
//!
//! wᵢ = `weights[i]`; 1 for every task if left out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "fixed",
    aliases: &["constant"],
    about: "weights given in the recipe",
    paper: "folklore",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling],
    build,
    select: Some(select),
    defaults: settings::defaults::<FixedSettings>,
    source: include_str!("fixed.rs"),
};

/// The settings of `rule = "fixed"`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FixedSettings {
    /// One weight per task; empty is 1 for all.
    pub weights: Vec<f64>,
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let FixedSettings { mut weights } = settings::read(RULE.name, given)?;
    if weights.is_empty() {
        weights = vec![1.0; tasks];
    }
    if weights.len() != tasks {
        return Err(format!("`fixed` has {} weights for {tasks} tasks: give one per task", weights.len()));
    }
    match weights.iter().position(|weight| !weight.is_finite()) {
        Some(task) => Err(format!("weight {task} of `fixed` is {}: it must be a finite number", weights[task])),
        None => Ok(Weighting::Losses(Box::new(Fixed { weights }))),
    }
}

fn select(given: &Value, tasks: &[usize]) -> Result<Weighting, String> {
    let FixedSettings { weights } = settings::read(RULE.name, given)?;
    let weight = |task: &usize| match weights.get(*task) {
        Some(weight) => Ok(*weight),
        None if weights.is_empty() => Ok(1.0),
        None => Err(format!("`fixed` has {} weights, but none for task {task}: give one per task", weights.len())),
    };
    Ok(Weighting::Losses(Box::new(Fixed { weights: tasks.iter().map(weight).collect::<Result<_, _>>()? })))
}

struct Fixed {
    weights: Vec<f64>,
}

impl WeightingRule for Fixed {}

impl FromLosses for Fixed {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, _seen: &StepInputs) -> Outcome {
        Outcome::exact(self.weights.clone())
    }
}
