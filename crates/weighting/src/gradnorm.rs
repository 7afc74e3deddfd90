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

use crate::adam::Adam;
use crate::state::{take, take_if_saved};
use crate::{Class, Entry, FromGram, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "gradnorm",
    aliases: &[],
    about: "gradient norms by how far each task lags",
    paper: "Chen et al., ICML 2018, arXiv:1711.02257",
    verified: false,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How strongly lagging tasks are favoured.
    alpha: f64,
    /// Adam's rate for w.
    rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 1.5, rate: 0.025 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { alpha, rate } = settings::read(ENTRY.name, given)?;
    Ok(Weighting::Gram(Box::new(GradNorm {
        alpha,
        weights: vec![1.0; tasks],
        adam: Adam::new(tasks, rate, 0.0),
        initial: None,
    })))
}

struct GradNorm {
    alpha: f64,
    weights: Vec<f64>,
    adam: Adam,
    /// The first step's losses.
    initial: Option<Vec<f64>>,
}

impl Rule for GradNorm {
    fn state(&self) -> State {
        let mut state = State::from([("weights".into(), self.weights.clone())]);
        state.extend(self.initial.iter().map(|initial| ("initial".to_owned(), initial.clone())));
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let weights = take(state, "weights", self.weights.len())?;
        self.initial = take_if_saved(state, "initial", self.weights.len())?;
        self.adam.restore(state)?;
        self.weights = weights;
        Ok(())
    }
}

impl FromGram for GradNorm {
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome {
        let tasks = self.weights.len();
        let (losses, warning) = seen.positive(tasks);
        let initial = self.initial.get_or_insert_with(|| losses.clone());
        let ratios: Vec<f64> = losses.iter().zip(initial).map(|(loss, first)| loss / *first).collect();
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
