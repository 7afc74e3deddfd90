//! MoDo, multi-objective gradient with double sampling: MGDA's weights by one unbiased projected step each time.
//!
//! λ ← Π(λ − γ (G₁₂λ + ρλ)) with G₁₂ the inner products between two independent mini-batches of the gradients and Π the projection
//! onto the simplex; d = Σ λᵢ gᵢ on a third draw.
//!
//! Chen et al., "Three-Way Trade-Off in Multi-Objective Learning", NeurIPS 2023, algorithm 1. γ = 1e-3 and ρ = 0.1 as in
//! LibMTL, which follows the authors' code; TorchJD has γ = 0.1.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::solver::simplex;
use crate::state::take;
use crate::{
    Class, FromGram, Needs, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "modo",
    aliases: &[],
    about: "min-norm weights from independent mini-batches",
    paper: "Chen et al., NeurIPS 2023, arXiv:2305.20057",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<MoDoSettings>,
    source: include_str!("modo.rs"),
};

/// The settings of `rule = "modo"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MoDoSettings {
    /// Rate of the weights.
    pub gamma: f64,
    /// Pull towards equal weights.
    pub rho: f64,
}

impl Default for MoDoSettings {
    fn default() -> Self {
        Self { gamma: 1e-3, rho: 0.1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let MoDoSettings { gamma, rho } = settings::read(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(MoDo { gamma, rho, weights: vec![1.0 / tasks as f64; tasks] })))
}

struct MoDo {
    gamma: f64,
    rho: f64,
    /// λ.
    weights: Vec<f64>,
}

impl WeightingRule for MoDo {
    fn needs(&self) -> Needs {
        Needs { mini_batches: 3, ..Needs::default() }
    }

    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("weights", StateShape::Share)]
    }

    fn state(&self) -> State {
        State::from([("weights".into(), self.weights.clone())])
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.weights = take(state, "weights", self.weights.len())?;
        Ok(())
    }
}

impl FromGram for MoDo {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let tasks = self.weights.len();
        let point: Vec<f64> = (0..tasks)
            .map(|i| {
                let cross: f64 = (0..tasks).map(|j| gram.at(tasks + i, 2 * tasks + j) * self.weights[j]).sum();
                self.weights[i] - self.gamma * (cross + self.rho * self.weights[i])
            })
            .collect();
        self.weights = simplex::project(&point);
        Outcome::exact(self.weights.clone())
    }
}
