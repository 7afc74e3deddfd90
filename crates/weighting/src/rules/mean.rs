//! Mean weighting: wᵢ = 1/K, so that the step does not grow with the number of tasks.
//!
//! The same direction as `equal` at a rate K times smaller: mixing the two up is the commonest unfair comparison
//! (Caruana, "Multitask Learning", 1997; Kurin et al., NeurIPS 2022).

use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "mean",
    aliases: &["average"],
    about: "the mean of the losses",
    paper: "Caruana, Machine Learning 28, 1997",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("mean.rs"),
};

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Losses(Box::new(Mean { tasks })))
}

struct Mean {
    tasks: usize,
}

impl WeightingRule for Mean {}

impl FromLosses for Mean {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, _seen: &StepInputs) -> Outcome {
        Outcome::exact(vec![1.0 / self.tasks as f64; self.tasks])
    }
}
