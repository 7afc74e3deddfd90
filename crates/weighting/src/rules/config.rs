//! ConFIG: the direction with equal cosines to all gradients, as long as the gradients' projections on it together.
//!
//! u ∝ Ĵ⁺ 1 for the matrix Ĵ of unit gradients, ‖u‖ = 1; d = (Σ ⟨gᵢ, u⟩) u. Since Ĵ⁺ = Ĵᵀ(ĴĴᵀ)⁺, the weights are
//! wᵢ ∝ (C⁺1)ᵢ / ‖gᵢ‖: the K×K cosines suffice.
//!
//! Liu, Chu and Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks", ICLR 2025, equation 2.
//! Conflict-free only where the gradients are linearly independent; of dependent ones the least-squares answer. A zero gradient
//! has no bearing: weight 0, the others share. Where the gradients' hull holds 0, as that of opposite ones, no direction has
//! equal cosines above 0: Pareto stationary.

use mtl_nash::Gram;
use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::solver::eigen::equal_projections;
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "config",
    aliases: &[],
    about: "equal cosines to all gradients",
    paper: "Liu et al., ICLR 2025, arXiv:2408.11104",
    verified: true,
    class: Class::Gram,
    properties: &[
        Property::PermutationEquivariant,
        Property::ScaleInvariant,
        Property::LinearUnderScaling,
        Property::EqualProjections,
    ],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("config.rs"),
};

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(Config)))
}

struct Config;

impl WeightingRule for Config {}

impl FromGram for Config {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let mut outcome = equal_projections(gram);
        let gains: f64 = gram.times(&outcome.weights).iter().sum();
        let square = gram.quadratic(&outcome.weights);
        let factor = if square > 0.0 { gains / square } else { 0.0 };
        outcome.weights.iter_mut().for_each(|weight| *weight *= factor);
        outcome
    }
}
