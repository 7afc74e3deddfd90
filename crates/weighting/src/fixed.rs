//! Fixed weights, chosen by hand or by a search outside the run.
//!
//! wᵢ = `weights[i]`; 1 for every task if left out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Class, Entry, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "fixed",
    aliases: &["constant"],
    about: "weights given in the recipe",
    paper: "folklore",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// One weight per task; empty is 1 for all.
    weights: Vec<f64>,
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { mut weights } = settings::read(ENTRY.name, given)?;
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

struct Fixed {
    weights: Vec<f64>,
}

impl Rule for Fixed {}

impl FromLosses for Fixed {
    fn balance(&mut self, _seen: &StepInputs) -> Outcome {
        Outcome::exact(self.weights.clone())
    }
}
