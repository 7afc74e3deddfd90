//! SDMGrad, stochastic direction-oriented MGDA: min-norm weights, pulled towards the mean gradient and free of sampling bias.
//!
//! w minimises wᵀAw/2 + λ wᵀA p over the simplex by `iterations` steps of projected gradient descent with momentum, from
//! where the last step ended; A is G₁₂, the inner products between two independent mini-batches, over the square of the mean of
//! √diag, and p = 1/K. d = Σ (wᵢ + λpᵢ)/(1 + λ) gᵢ on a third draw.
//!
//! Xiao, Ban and Ji, "Direction-oriented Multi-objective Learning", NeurIPS 2023, algorithm 1. λ = 0.3, 20 iterations and a
//! momentum of 0.5 as in the authors' code; its rate is 5 in LibMTL (here) and 10 in TorchJD. At such
//! rates the descent may oscillate and amplify rounding, so that even the order of the tasks shows.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::solver::simplex;
use crate::state::take;
use crate::{Class, FromGram, Needs, Outcome, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "sdmgrad",
    aliases: &[],
    about: "min-norm weights near the mean, from independent mini-batches",
    paper: "Xiao et al., NeurIPS 2023, arXiv:2305.18409",
    verified: true,
    class: Class::Gram,
    properties: &[],
    build,
    select: None,
    defaults: settings::defaults::<SdmGradSettings>,
    source: include_str!("sdmgrad.rs"),
};

/// The settings of `rule = "sdmgrad"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SdmGradSettings {
    /// Pull towards the mean gradient.
    pub lambda: f64,
    /// Steps of descent.
    pub iterations: usize,
    /// Their rate.
    pub rate: f64,
    /// Their momentum.
    pub momentum: f64,
}

impl Default for SdmGradSettings {
    fn default() -> Self {
        Self { lambda: 0.3, iterations: 20, rate: 5.0, momentum: 0.5 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let settings = settings::read(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(SdmGrad { settings, weights: vec![1.0 / tasks as f64; tasks] })))
}

struct SdmGrad {
    settings: SdmGradSettings,
    /// w.
    weights: Vec<f64>,
}

impl WeightingRule for SdmGrad {
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

impl FromGram for SdmGrad {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let SdmGradSettings { lambda, iterations, rate, momentum } = self.settings;
        let tasks = self.weights.len();
        let cross = |i: usize, j: usize| gram.at(tasks + i, 2 * tasks + j);
        let scale = (0..tasks).map(|task| cross(task, task).max(0.0).sqrt()).sum::<f64>() / tasks as f64;
        let unit = scale * scale + 1e-8;
        let pull = lambda / tasks as f64;
        let mut velocity = vec![0.0; tasks];
        for _ in 0..iterations {
            for (i, v) in velocity.iter_mut().enumerate() {
                let slope: f64 = (0..tasks).map(|j| cross(i, j) / unit * (self.weights[j] + pull)).sum();
                *v = momentum * *v + slope;
            }
            let point: Vec<f64> = self.weights.iter().zip(&velocity).map(|(w, v)| w - rate * v).collect();
            self.weights = simplex::project(&point);
        }
        let weights = self.weights.iter().map(|w| (w + pull) / (1.0 + lambda)).collect();
        Outcome { iterations, ..Outcome::exact(weights) }
    }
}
