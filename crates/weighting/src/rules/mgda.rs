//! MGDA, the multiple gradient descent algorithm: the direction of smallest norm in the convex hull of the gradients.
//!
//! w = argmin wᵀGw over the simplex; d = Σ wᵢ gᵢ.
//!
//! Désidéri, "Multiple-gradient descent algorithm", 2012; Sener and Koltun, NeurIPS 2018, algorithm 2. Solved exactly by an
//! active set; public code runs Frank–Wolfe for 100 to 250 iterations and stops short, and the Nash-MTL code multiplies by K.

use mtl_nash::Gram;
use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::solver::min_norm::min_norm;
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "mgda",
    aliases: &[],
    about: "the min-norm point of the convex hull of the gradients",
    paper: "Sener and Koltun, NeurIPS 2018, arXiv:1810.04650",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant, Property::NonConflicting],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("mgda.rs"),
};

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(Mgda)))
}

struct Mgda;

impl WeightingRule for Mgda {}

impl FromGram for Mgda {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        min_norm(gram)
    }
}
