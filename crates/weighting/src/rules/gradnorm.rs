//! GradNorm: the weighted gradients shall have norms in proportion to how far each task lags behind.
//!
//! Moves w down Σ |wᵢ‖gᵢ‖ − Ḡ rᵢ^α|, Ḡ the mean of wᵢ‖gᵢ‖ and rᵢ = (ℓᵢ/ℓᵢ(0)) over its mean, both cached fixed, by Adam at its
//! own `rate`; then scales to Σwᵢ = K. Needs the diagonal of G alone.
//!
//! Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing", ICML 2018, algorithm 1. ℓ(0) is the first
//! step's loss; LibMTL takes the first epoch's mean, learns w through a softmax and at the model's rate. Weights are kept
//! above 1e-4, where the paper's may turn negative.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::{Adam, PER_TASK as ADAM};
use crate::state::take;
use crate::{
    Class, FromGram, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "gradnorm",
    aliases: &[],
    about: "gradient norms by how far each task lags",
    paper: "Chen et al., ICML 2018, arXiv:1711.02257",
    verified: false,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<GradNormSettings>,
    source: include_str!("gradnorm.rs"),
};

/// The settings of `rule = "gradnorm"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradNormSettings {
    /// How strongly lagging tasks are favoured.
    pub alpha: f64,
    /// Adam's rate for w.
    pub rate: f64,
}

impl Default for GradNormSettings {
    fn default() -> Self {
        Self { alpha: 1.5, rate: 0.025 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let GradNormSettings { alpha, rate } = settings::read(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(GradNorm {
        alpha,
        weights: vec![1.0; tasks],
        adam: Adam::new(tasks, rate, 0.0),
        initial: vec![0.0; tasks],
    })))
}

struct GradNorm {
    alpha: f64,
    weights: Vec<f64>,
    adam: Adam,
    /// The losses of each task's first step, which are above 0; 0 before it.
    initial: Vec<f64>,
}

impl WeightingRule for GradNorm {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("weights", StateShape::Share), ("initial", StateShape::PerTask), ADAM[0], ADAM[1], ADAM[2]]
    }

    fn state(&self) -> State {
        let mut state =
            State::from([("weights".into(), self.weights.clone()), ("initial".into(), self.initial.clone())]);
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let weights = take(state, "weights", self.weights.len())?;
        let initial = take(state, "initial", self.weights.len())?;
        self.adam.restore(state)?;
        (self.weights, self.initial) = (weights, initial);
        Ok(())
    }
}

impl FromGram for GradNorm {
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome {
        let tasks = self.weights.len();
        let (losses, warning) = seen.positive(tasks);
        let first = self.initial.iter_mut().zip(&losses).filter(|(initial, _)| **initial == 0.0);
        first.for_each(|(initial, loss)| *initial = *loss);
        let ratios: Vec<f64> = losses.iter().zip(&self.initial).map(|(loss, first)| loss / *first).collect();
        let mean_ratio = ratios.iter().sum::<f64>() / tasks as f64;
        let norms: Vec<f64> = (0..tasks).map(|task| self.weights[task] * gram.norm(task)).collect();
        let mean_norm = norms.iter().sum::<f64>() / tasks as f64;
        let outcome = Outcome { warning, ..Outcome::exact(self.weights.clone()) };
        let gradient: Vec<f64> = (0..tasks)
            .map(|task| {
                let off = norms[task] - mean_norm * (ratios[task] / mean_ratio).powf(self.alpha);
                if off == 0.0 { 0.0 } else { off.signum() * gram.norm(task) }
            })
            .collect();
        self.adam.step(&mut self.weights, &gradient);
        self.weights.iter_mut().for_each(|weight| *weight = weight.max(1e-4));
        let total: f64 = self.weights.iter().sum();
        self.weights.iter_mut().for_each(|weight| *weight *= tasks as f64 / total);
        outcome
    }
}
