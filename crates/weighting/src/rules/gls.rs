//! Geometric loss strategy: the gradient of the geometric mean of the losses, M = (Π ℓᵢ)^(1/K), so wᵢ = M / (K ℓᵢ).
//!
//! Chennupati et al., "MultiNet++", CVPR workshops 2019. The mean is taken in logarithms: the product over- or underflows
//! for many tasks. A loss that is not above 0 is raised to 1e-12, with a warning.

use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "gls",
    aliases: &["geometric-mean"],
    about: "the geometric mean of the losses",
    paper: "Chennupati et al., CVPRW 2019, arXiv:1904.08492",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("gls.rs"),
};

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Losses(Box::new(Gls { tasks })))
}

struct Gls {
    tasks: usize,
}

impl WeightingRule for Gls {}

impl FromLosses for Gls {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let (losses, warning) = seen.positive(self.tasks);
        let logarithm = losses.iter().map(|loss| loss.ln()).sum::<f64>() / self.tasks as f64;
        let share = logarithm.exp() / self.tasks as f64;
        Outcome { warning, ..Outcome::exact(losses.iter().map(|loss| share / loss).collect()) }
    }
}
