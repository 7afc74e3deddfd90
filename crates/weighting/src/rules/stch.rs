//! Smooth Tchebycheff scalarization: a soft maximum of the losses.
//!
//! Without warm-up the paper's plain form, μ log Σ exp(pᵢℓᵢ/μ) with preferences p, so w = p · softmax(pℓ/μ). With `warmup`
//! steps the authors' multi-task form: first Σ log ℓ; the mean losses over the last quarter of the warm-up become the nadir
//! z; then K μ log Σ exp(log(ℓᵢ/zᵢ)/μ), so wᵢ = K · softmax(log(ℓ/z)/μ)ᵢ / ℓᵢ.
//!
//! Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024, equation 10 and appendix B.
//! The authors warm up for four epochs of LibMTL's 200 and take the last one's mean: 0.02 of the run's steps here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::softmax::softmax;
use crate::state::take;
use crate::{
    Class, FromLosses, Horizon, Outcome, Preference, Property, Rule, State, StateShape, StepInputs, Weighting,
    WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "stch",
    aliases: &["smooth-tchebycheff"],
    about: "a soft maximum of the losses",
    paper: "Lin et al., ICML 2024, arXiv:2402.19078",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    select: None,
    defaults: settings::defaults::<StchSettings>,
    source: include_str!("stch.rs"),
};

/// The settings of `rule = "stch"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StchSettings {
    /// Smoothness; towards 0 only the largest counts.
    pub mu: f64,
    /// Σ log ℓ before: below 1 a share of the run's steps, from 1 on a number of steps; 0 for the plain form.
    pub warmup: Horizon,
    /// The preferences of the plain form.
    pub preference: Preference,
}

impl Default for StchSettings {
    fn default() -> Self {
        Self { mu: 1.0, warmup: Horizon::share(0.02), preference: Preference::Mean }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let StchSettings { mu, warmup, preference } = settings::read(RULE.name, given)?;
    if !(mu > 0.0 && mu.is_finite()) {
        return Err(format!("`mu` of `stch` must be above 0, found {mu}"));
    }
    Ok(Weighting::Losses(Box::new(Stch { mu, warmup, preference, steps: vec![0.0; tasks], sum: vec![0.0; tasks] })))
}

struct Stch {
    mu: f64,
    warmup: Horizon,
    preference: Preference,
    /// Steps of the warm-up that each task has done.
    steps: Vec<f64>,
    /// Losses summed over its last quarter.
    sum: Vec<f64>,
}

impl WeightingRule for Stch {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("steps", StateShape::PerTask), ("sum", StateShape::PerTask)]
    }

    fn state(&self) -> State {
        State::from([("steps".into(), self.steps.clone()), ("sum".into(), self.sum.clone())])
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let sum = take(state, "sum", self.sum.len())?;
        self.steps = take(state, "steps", self.sum.len())?;
        self.sum = sum;
        Ok(())
    }
}

impl FromLosses for Stch {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let tasks = self.sum.len();
        let warmup = self.warmup.steps(seen.progress.of);
        if warmup == 0 {
            let share = self.preference.of(tasks);
            let scaled: Vec<f64> = (0..tasks).map(|task| share * seen.loss(task) / self.mu).collect();
            return Outcome::exact(softmax(&scaled).iter().map(|soft| share * soft).collect());
        }
        let (losses, warning) = seen.positive(tasks);
        let counted = warmup.div_ceil(4);
        // Tasks that are past the warm-up share what they have together; the others are on their own.
        let past: Vec<usize> = (0..tasks).filter(|&task| self.steps[task] >= warmup as f64).collect();
        let nadir = |task: usize| self.sum[task] / counted as f64;
        let scaled: Vec<f64> = past.iter().map(|&task| (losses[task] / nadir(task)).ln() / self.mu).collect();
        let mut weights: Vec<f64> = losses.iter().map(|loss| 1.0 / loss).collect();
        for (&task, soft) in past.iter().zip(softmax(&scaled)) {
            weights[task] = past.len() as f64 * soft / losses[task];
        }
        for task in (0..tasks).filter(|task| !past.contains(task)) {
            if self.steps[task] >= (warmup - counted) as f64 {
                self.sum[task] += losses[task];
            }
            self.steps[task] += 1.0;
        }
        Outcome { warning, ..Outcome::exact(weights) }
    }
}
