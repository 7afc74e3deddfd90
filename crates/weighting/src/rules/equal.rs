//! Equal weighting: wᵢ = 1, the plain sum of the losses.
//!
//! The baseline of every comparison (Caruana, 1997), and hard to beat when tuned (Kurin et al., NeurIPS 2022). Note
//! that its direction is K times that of `mean`: compare the two at rates that differ by K.

use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "equal",
    aliases: &["sum", "linear-scalarization"],
    about: "the sum of the losses",
    paper: "Caruana, Machine Learning 28, 1997",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("equal.rs"),
};

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Losses(Box::new(Equal { tasks })))
}

struct Equal {
    tasks: usize,
}

impl WeightingRule for Equal {}

impl FromLosses for Equal {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, _seen: &StepInputs) -> Outcome {
        Outcome::exact(vec![1.0; self.tasks])
    }
}
