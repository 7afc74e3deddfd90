//! DualProj: the mean gradient, projected onto the dual cone of all gradients.
//!
//! v = argmin vᵀGv subject to vᵢ ≥ 1/K; d = Σ vᵢ gᵢ.
//!
//! Lopez-Paz and Ranzato, "Gradient Episodic Memory", NeurIPS 2017, §3, named by Quinton and Rey (2024). Solved exactly;
//! TorchJD adds 1e-4 to the normalised Gram matrix, so that its direction conflicts a little.

use mtl_nash::Gram;
use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::solver::dual_cone;
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "dualproj",
    aliases: &[],
    about: "the mean gradient, projected to conflict with none",
    paper: "Lopez-Paz and Ranzato, NeurIPS 2017, arXiv:1706.08840",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant, Property::NonConflicting],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("dualproj.rs"),
};

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(DualProj)))
}

struct DualProj;

impl WeightingRule for DualProj {}

impl FromGram for DualProj {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let tasks = gram.tasks();
        dual_cone::project(gram, &vec![1.0 / tasks as f64; tasks])
    }
}
