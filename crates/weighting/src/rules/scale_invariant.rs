//! Scale-invariant weighting: the gradient of Σ log ℓᵢ, so wᵢ = 1/ℓᵢ.
//!
//! Multiplying a loss by a constant changes nothing. The strongest of the baselines in Navon et al., ICML 2022
//! (`scaleinvls` in their code), and what uncertainty weighting and IMTL-L come to at their stationary point. A loss that
//! is not above 0 has no logarithm: it is raised to 1e-12, with a warning.

use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "scale-invariant",
    aliases: &["si"],
    about: "the sum of the logarithms of the losses",
    paper: "Navon et al., ICML 2022 (baseline), arXiv:2202.01017",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("scale_invariant.rs"),
};

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Losses(Box::new(ScaleInvariant { tasks })))
}

struct ScaleInvariant {
    tasks: usize,
}

impl WeightingRule for ScaleInvariant {}

impl FromLosses for ScaleInvariant {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let (losses, warning) = seen.positive(self.tasks);
        Outcome { warning, ..Outcome::exact(losses.iter().map(|loss| 1.0 / loss).collect()) }
    }
}
