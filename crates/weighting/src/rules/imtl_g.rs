//! IMTL-G, impartial gradient balance: the direction on which every unit gradient projects equally.
//!
//! α ∝ D⁻¹ C⁺ 1 with D = diag(‖gᵢ‖) and C the cosines, scaled to Σαᵢ = 1; d = Σ αᵢ gᵢ.
//!
//! Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021, equation 5. The paper inverts a (K−1)×(K−1) matrix that
//! may be singular; the pseudo-inverse of the cosines also answers there, by least squares. The closed form has no sign of
//! its own: where Σα < 0 the scaling flips the direction, which then ascends. That is a warning, not repaired here, because
//! it is what the method says. A zero gradient has no bearing: weight 0, the others share. Where Σα vanishes against Σ|α| there is
//! nothing to scale by: out of iterations, with the weights scaled to Σ|αᵢ| = 1.

use mtl_nash::{Gram, Status};
use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::solver::eigen::equal_projections;
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Warning, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "imtl-g",
    aliases: &[],
    about: "equal projections on all unit gradients",
    paper: "Liu et al., ICLR 2021",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant, Property::EqualProjections],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("imtl_g.rs"),
};

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(ImtlG)))
}

/// The share of Σ|α| that rounding alone makes of Σα.
const VANISHED: f64 = 1e-12;

struct ImtlG;

impl WeightingRule for ImtlG {}

impl FromGram for ImtlG {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let mut outcome = equal_projections(gram);
        let total: f64 = outcome.weights.iter().sum();
        if total < 0.0 {
            outcome.warning = Some(Warning::NegativeSum);
        }
        let size: f64 = outcome.weights.iter().map(|weight| weight.abs()).sum();
        let vanished = total.abs() <= VANISHED * size;
        if vanished && outcome.status == Status::Agreed {
            outcome.status = Status::OutOfIterations;
        }
        let divisor = if vanished { size } else { total };
        if divisor != 0.0 {
            outcome.weights.iter_mut().for_each(|weight| *weight /= divisor);
        }
        outcome
    }
}
