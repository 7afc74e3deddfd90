//! MoCo, multi-objective gradient correction: weights and direction come from gradients smoothed over steps.
//!
//! yᵢ ← yᵢ − βₜ (yᵢ − ℓᵢ gᵢ/‖gᵢ‖), λ ← softmax(λ − γₜ (YYᵀ + ρI) λ), d = Σ λᵢ yᵢ, with βₜ = β/√t and γₜ = γ/√t.
//!
//! Fernando et al., "Mitigating Gradient Bias in Multi-objective Learning", ICLR 2023, algorithm 1. As in LibMTL, from the
//! authors' code: unit gradients times losses, a softmax where the paper projects onto the simplex, and its defaults. A loss below
//! 0 would turn its gradient round, and the step ascend: what is not above 0 counts as 1e-12, with a warning. `normalise = false`
//! is the paper's own yᵢ ← yᵢ − βₜ (yᵢ − gᵢ), which looks at no loss. Y is kept in f32: what is beyond it is not finite here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jacobian::{beyond_f32, chunks};
use crate::softmax::softmax;
use crate::state::take;
use crate::{
    Class, FromJacobian, Jacobian, Outcome, Property, Rule, State, StateShape, StepInputs, TaskVectors, Weighting,
    WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "moco",
    aliases: &[],
    about: "min-norm weights from smoothed gradients",
    paper: "Fernando et al., ICLR 2023, openreview dLAYGdKTi2",
    verified: false,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<MoCoSettings>,
    source: include_str!("moco.rs"),
};

/// The settings of `rule = "moco"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MoCoSettings {
    /// Rate of the smoothed gradients.
    pub beta: f64,
    /// Power of the step number that divides it.
    pub beta_decay: f64,
    /// Rate of the weights.
    pub gamma: f64,
    /// Power of the step number that divides it.
    pub gamma_decay: f64,
    /// Pull towards equal weights.
    pub rho: f64,
    /// Whether Y follows ℓᵢ gᵢ/‖gᵢ‖, as the authors' code does, or gᵢ, as their paper does.
    pub normalise: bool,
}

impl Default for MoCoSettings {
    fn default() -> Self {
        Self { beta: 0.5, beta_decay: 0.5, gamma: 0.1, gamma_decay: 0.5, rho: 0.0, normalise: true }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let settings: MoCoSettings = settings::read(RULE.name, given)?;
    let MoCoSettings { beta, beta_decay, gamma, gamma_decay, rho, .. } = settings;
    let rates =
        [("beta", beta), ("beta_decay", beta_decay), ("gamma", gamma), ("gamma_decay", gamma_decay), ("rho", rho)];
    if let Some((key, value)) =
        rates.iter().find(|(key, value)| !(*value >= 0.0 && value.is_finite() && (*key != "beta" || *value <= 1.0)))
    {
        return Err(format!("`{key}` of `moco` must not be negative, `beta` not above 1, found {value}"));
    }
    let weights = vec![1.0 / tasks as f64; tasks];
    Ok(Weighting::Jacobian(Box::new(MoCo {
        settings,
        step: vec![0.0; tasks],
        weights,
        smoothed: TaskVectors::default(),
    })))
}

struct MoCo {
    settings: MoCoSettings,
    /// t, the steps that each task took part in.
    step: Vec<f64>,
    /// λ.
    weights: Vec<f64>,
    /// Y.
    smoothed: TaskVectors,
}

impl WeightingRule for MoCo {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("step", StateShape::PerTask), ("weights", StateShape::Share), ("buffer", StateShape::PerTaskVector)]
    }

    fn vectors(&mut self) -> Option<&mut TaskVectors> {
        Some(&mut self.smoothed)
    }

    fn state(&self) -> State {
        let mut state = State::from([("step".into(), self.step.clone()), ("weights".into(), self.weights.clone())]);
        self.smoothed.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let weights = take(state, "weights", self.weights.len())?;
        self.smoothed.restore(state, weights.len())?;
        self.step = take(state, "step", weights.len())?;
        self.weights = weights;
        Ok(())
    }
}

impl FromJacobian for MoCo {
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let MoCoSettings { beta, beta_decay, gamma, gamma_decay, rho, normalise } = self.settings;
        let tasks = self.weights.len();
        let mut squares = vec![0.0; tasks];
        chunks(mini_batches, |_, mini_batches| {
            squares
                .iter_mut()
                .zip(&mini_batches[0])
                .for_each(|(sum, row)| *sum += row.iter().map(|g| g * g).sum::<f64>());
        });
        let (losses, warning) = if normalise { seen.positive(tasks) } else { (vec![1.0; tasks], None) };
        let scale = |task: usize| if normalise { losses[task] / (squares[task].sqrt() + 1e-8) } else { 1.0 };
        let scales: Vec<f64> = (0..tasks).map(scale).collect();
        let lost = (0..tasks).find(|&task| !squares[task].is_finite());
        if let Some(task) = lost.or_else(|| beyond_f32(mini_batches, &scales)) {
            return Outcome { warning, ..Outcome::non_finite(0, task) };
        }
        self.smoothed.shape(tasks, mini_batches[0].columns());
        self.step.iter_mut().for_each(|step| *step += 1.0);
        let mut products = vec![0.0; tasks * tasks];
        chunks(mini_batches, |start, mini_batches| {
            for (task, row) in mini_batches[0].iter().enumerate() {
                let beta = beta / self.step[task].powf(beta_decay);
                let scale = scales[task];
                let part = self.smoothed.part(task, start, row.len());
                part.iter_mut().zip(row).for_each(|(y, g)| *y -= (beta * (f64::from(*y) - scale * g)) as f32);
            }
            let length = mini_batches[0][0].len();
            let parts: Vec<Vec<f32>> =
                (0..tasks).map(|task| self.smoothed.part(task, start, length).to_vec()).collect();
            for (i, a) in parts.iter().enumerate() {
                for (j, b) in parts.iter().enumerate() {
                    products[i * tasks + j] += a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                }
            }
        });
        let moved: Vec<f64> = (0..tasks)
            .map(|i| {
                let slope: f64 = (0..tasks).map(|j| products[i * tasks + j] * self.weights[j]).sum();
                let gamma = gamma / self.step[i].powf(gamma_decay);
                self.weights[i] - gamma * (slope + rho * self.weights[i])
            })
            .collect();
        self.weights = softmax(&moved);
        self.smoothed.combine(&self.weights, write);
        Outcome { warning, ..Outcome::exact(self.weights.clone()) }
    }
}
