//! Homoscedastic uncertainty weighting: each task learns the noise of its own answers.
//!
//! With s = log σ² per task: ½e⁻ˢℓ + ½s for a Gaussian likelihood, e⁻ˢℓ + ½s for a categorical one, so the weight is
//! ½e⁻ˢ or e⁻ˢ. s moves down its gradient, ½(1 − e⁻ˢℓ) or ½ − e⁻ˢℓ, by Adam at its own `rate`. At its stationary
//! point the weight is 1/(2ℓ) in both forms: half the scale-invariant baseline.
//!
//! Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty", CVPR 2018, equations 7 and 10. The authors'
//! rate is not published; 0.025 and s₀ = 0 are those of the Nash-MTL code, which applies the Gaussian form to every
//! task. As ℓ → 0 the optimum s → −∞ and the weight grows without bound: |s| ≤ `clamp`.

use mtl_task::Likelihood;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::{Adam, PER_TASK as ADAM};
use crate::state::take;
use crate::{
    Class, FromLosses, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "uncertainty",
    aliases: &["uw", "uncertainty-weighting"],
    about: "a learned noise level per task",
    paper: "Kendall et al., CVPR 2018, arXiv:1705.07115",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<UncertaintySettings>,
    source: include_str!("uncertainty.rs"),
};

/// The settings of `rule = "uncertainty"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UncertaintySettings {
    /// Adam's rate for s.
    pub rate: f64,
    /// The first s.
    pub initial: f64,
    /// The largest |s|.
    pub clamp: f64,
}

impl Default for UncertaintySettings {
    fn default() -> Self {
        Self { rate: 0.025, initial: 0.0, clamp: 10.0 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let UncertaintySettings { rate, initial, clamp } = settings::read(RULE.name, given)?;
    let log_variance = vec![initial; tasks];
    Ok(Weighting::Losses(Box::new(Uncertainty { log_variance, clamp, adam: Adam::new(tasks, rate, 0.0) })))
}

struct Uncertainty {
    log_variance: Vec<f64>,
    clamp: f64,
    adam: Adam,
}

impl WeightingRule for Uncertainty {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("log_variance", StateShape::PerTask), ADAM[0], ADAM[1], ADAM[2]]
    }

    fn state(&self) -> State {
        let mut state = State::from([("log_variance".into(), self.log_variance.clone())]);
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let log_variance = take(state, "log_variance", self.log_variance.len())?;
        self.adam.restore(state)?;
        self.log_variance = log_variance;
        Ok(())
    }
}

impl FromLosses for Uncertainty {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let weights: Vec<f64> = (self.log_variance.iter().enumerate())
            .map(|(task, s)| match seen.likelihood(task) {
                Likelihood::Gaussian => 0.5 * (-s).exp(),
                Likelihood::Categorical => (-s).exp(),
            })
            .collect();
        let gradient: Vec<f64> = (0..weights.len()).map(|task| 0.5 - weights[task] * seen.loss(task)).collect();
        self.adam.step(&mut self.log_variance, &gradient);
        self.log_variance.iter_mut().for_each(|s| *s = s.clamp(-self.clamp, self.clamp));
        Outcome::exact(weights)
    }
}
