//! MoDo, multi-objective gradient with double sampling: MGDA's weights by one unbiased projected step each time.
//!
//! λ ← Π(λ − γ (G₁₂λ + ρλ)) with G₁₂ the inner products between two independent mini_batches of the gradients and Π the projection
//! onto the simplex; d = Σ λᵢ gᵢ on a third draw.
//!
//! Chen et al., "Three-Way Trade-Off in Multi-Objective Learning", NeurIPS 2023, algorithm 1. γ = 1e-3 and ρ = 0.1 as in
//! LibMTL, which follows the authors' code; TorchJD has γ = 0.1.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::solver::simplex;
use crate::state::take;
use crate::{Class, Entry, FromGram, Needs, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "modo",
    aliases: &[],
    about: "min-norm weights from independent mini_batches",
    paper: "Chen et al., NeurIPS 2023, arXiv:2305.20057",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Rate of the weights.
    gamma: f64,
    /// Pull towards equal weights.
    rho: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { gamma: 1e-3, rho: 0.1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { gamma, rho } = settings::read(ENTRY.name, given)?;
    Ok(Weighting::Gram(Box::new(MoDo { gamma, rho, weights: vec![1.0 / tasks as f64; tasks] })))
}

struct MoDo {
    gamma: f64,
    rho: f64,
    /// λ.
    weights: Vec<f64>,
}

impl Rule for MoDo {
    fn needs(&self) -> Needs {
        Needs { mini_batches: 3, ..Needs::default() }
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
