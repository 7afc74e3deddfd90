//! UPGrad: the mean of the gradients, each projected onto the dual cone of all gradients.
//!
//! For each i: vⁱ = argmin vᵀGv subject to v ≥ eᵢ/K; w = Σ vⁱ, d = Σ wᵢ gᵢ.
//!
//! Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, equation 3. Solved exactly; TorchJD adds
//! 1e-4 to the normalised Gram matrix, which breaks linearity under scaling by up to 6e-2 in its own tests.

use mtl_nash::{Gram, Status};
use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::solver::dual_cone;
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "upgrad",
    aliases: &[],
    about: "the mean of the gradients, each projected to conflict with none",
    paper: "Quinton and Rey, 2024, arXiv:2406.16232",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling, Property::NonConflicting],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("upgrad.rs"),
};

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(UpGrad)))
}

struct UpGrad;

impl WeightingRule for UpGrad {}

impl FromGram for UpGrad {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let tasks = gram.tasks();
        let mut sum = Outcome::exact(vec![0.0; tasks]);
        for task in 0..tasks {
            let mut unit = vec![0.0; tasks];
            unit[task] = 1.0 / tasks as f64;
            let part = dual_cone::project(gram, &unit);
            sum.weights.iter_mut().zip(&part.weights).for_each(|(w, v)| *w += v);
            sum.residual = sum.residual.max(part.residual);
            sum.iterations += part.iterations;
            if part.status != Status::Agreed {
                sum.status = part.status;
            }
        }
        sum
    }
}
