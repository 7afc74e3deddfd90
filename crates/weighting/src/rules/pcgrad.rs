//! PCGrad, projecting conflicting gradients: each gradient drops its component against every gradient it meets.
//!
//! For each i, over j ≠ i in random order: if ⟨g′ᵢ, gⱼ⟩ < 0 then g′ᵢ ← g′ᵢ − ⟨g′ᵢ, gⱼ⟩/‖gⱼ‖² gⱼ; d = Σ g′ᵢ.
//!
//! Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1. As in the paper j ≠ i; the Nash-MTL
//! code and LibMTL let a gradient meet itself, which can fire for K ≥ 3. Later projections may undo earlier ones, so that
//! d may conflict for K ≥ 3.

use mtl_nash::Gram;
use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "pcgrad",
    aliases: &[],
    about: "gradients projected off those they conflict with",
    paper: "Yu et al., NeurIPS 2020, arXiv:2001.06782",
    verified: true,
    class: Class::Gram,
    properties: &[Property::LinearUnderScaling],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("pcgrad.rs"),
};

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(PcGrad)))
}

struct PcGrad;

impl WeightingRule for PcGrad {}

impl FromGram for PcGrad {
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome {
        let mut stream = seen.key.named(RULE.name).stream();
        let tasks = gram.tasks();
        let mut weights = vec![0.0; tasks];
        for own in 0..tasks {
            let mut shares = vec![0.0; tasks];
            shares[own] = 1.0;
            for other in stream.permutation(tasks).into_iter().filter(|other| *other != own) {
                let product: f64 = (0..tasks).map(|k| shares[k] * gram.at(k, other)).sum();
                if product < 0.0 && gram.at(other, other) > 0.0 {
                    shares[other] -= product / gram.at(other, other);
                }
            }
            weights.iter_mut().zip(&shares).for_each(|(weight, share)| *weight += share);
        }
        Outcome::exact(weights)
    }
}
