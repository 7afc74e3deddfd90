//! Auto-λ: the weights under which a step on the training data lowers the validation loss most.
//!
//! λ moves down the gradient of L_val(θ − η Σ λᵢ gᵢ), which is −η ⟨gᵢ, ∇L_val⟩, by Adam; L_val is the sum of the primary tasks'
//! losses on a cached-out part of the training data. Both gradients are rows of the Gram matrix: no look-ahead model is built.
//!
//! Liu et al., "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR 2022, equation 5. ∇L_val is taken at θ where the
//! paper takes it at the look-ahead point, a difference of order η; η itself is common to all λ and Adam divides it out.
//! λ₀ = 0.1 is the authors'; λ is kept above 0. Their rate of 1e-4 is for NYUv2's 200 epochs of 199 steps, over which λ can
//! move by 4: in a run of a few hundred steps it would stay where it starts, so `travel` counts instead.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::{Adam, PER_TASK as ADAM};
use crate::state::take;
use crate::{
    Class, FromGram, Needs, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "auto-lambda",
    aliases: &[],
    about: "weights that lower the validation loss",
    paper: "Liu et al., TMLR 2022, arXiv:2202.03091",
    verified: false,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    select: Some(select),
    defaults: settings::defaults::<AutoLambdaSettings>,
    source: include_str!("auto_lambda.rs"),
};

/// The settings of `rule = "auto-lambda"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoLambdaSettings {
    /// The first λ.
    pub initial: f64,
    /// How far λ moves if it goes one way all run: Adam's rate for λ is this over the run's steps.
    pub travel: f64,
    /// Adam's rate for λ in a step; 0 takes it from `travel`.
    pub rate: f64,
    /// The tasks whose validation losses count, from 0; all if empty.
    pub primary: Vec<usize>,
}

impl Default for AutoLambdaSettings {
    fn default() -> Self {
        Self { initial: 0.1, travel: 4.0, rate: 0.0, primary: Vec::new() }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let mut settings: AutoLambdaSettings = settings::read(RULE.name, given)?;
    let primary = &mut settings.primary;
    if let Some(task) = primary.iter().find(|task| **task >= tasks) {
        return Err(format!("`primary` of `auto-lambda` names task {task}, but the {tasks} tasks are counted from 0"));
    }
    if primary.is_empty() {
        *primary = (0..tasks).collect();
    }
    rule(tasks, settings)
}

/// Where none of the primary tasks is among them, the weights stay.
fn select(given: &Value, tasks: &[usize]) -> Result<Weighting, String> {
    let settings: AutoLambdaSettings = settings::read(RULE.name, given)?;
    let counts = |task: &usize| settings.primary.is_empty() || settings.primary.contains(task);
    let primary = (0..tasks.len()).filter(|&place| counts(&tasks[place])).collect();
    rule(tasks.len(), AutoLambdaSettings { primary, ..settings })
}

fn rule(tasks: usize, settings: AutoLambdaSettings) -> Result<Weighting, String> {
    let AutoLambdaSettings { initial, travel, rate, primary } = settings;
    for (key, value) in [("initial", initial), ("travel", travel), ("rate", rate)] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(format!("`{key}` of `auto-lambda` must be finite and not negative, found {value}"));
        }
    }
    let (weights, adam) = (vec![initial; tasks], Adam::new(tasks, rate, 0.0));
    Ok(Weighting::Gram(Box::new(AutoLambda { weights, primary, travel, rate, adam })))
}

struct AutoLambda {
    /// λ.
    weights: Vec<f64>,
    primary: Vec<usize>,
    travel: f64,
    rate: f64,
    adam: Adam,
}

impl WeightingRule for AutoLambda {
    fn needs(&self) -> Needs {
        Needs { mini_batches: 2, validation_batch: true, ..Needs::default() }
    }

    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("weights", StateShape::PerTask), ADAM[0], ADAM[1], ADAM[2]]
    }

    fn state(&self) -> State {
        let mut state = State::from([("weights".into(), self.weights.clone())]);
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let weights = take(state, "weights", self.weights.len())?;
        self.adam.restore(state)?;
        self.weights = weights;
        Ok(())
    }
}

impl FromGram for AutoLambda {
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome {
        let tasks = self.weights.len();
        let gain = |task: usize| self.primary.iter().map(|&other| gram.at(task, tasks + other)).sum::<f64>();
        let gradient: Vec<f64> = (0..tasks).map(|task| -gain(task)).collect();
        let rate = if self.rate > 0.0 { self.rate } else { self.travel / seen.progress.of.max(1) as f64 };
        self.adam.step_at(rate, &mut self.weights, &gradient);
        self.weights.iter_mut().for_each(|weight| *weight = weight.max(0.0));
        Outcome::exact(self.weights.clone())
    }
}
