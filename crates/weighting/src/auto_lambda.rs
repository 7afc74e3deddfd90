//! Auto-λ: the weights under which a step on the training data lowers the validation loss most.
//!
//! λ moves down the gradient of L_val(θ − η Σ λᵢ gᵢ), which is −η ⟨gᵢ, ∇L_val⟩, by Adam; L_val is the sum of the primary tasks'
//! losses on a cached-out part of the training data. Both gradients are rows of the Gram matrix: no look-ahead model is built.
//!
//! Liu et al., "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR 2022, equation 5. ∇L_val is taken at θ where the
//! paper takes it at the look-ahead point, a difference of order η; η itself is common to all λ and Adam divides it out.
//! λ₀ = 0.1 and the rate 1e-4 are the authors'; λ is kept above 0.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::Adam;
use crate::state::take;
use crate::{Class, Entry, FromGram, Needs, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "auto-lambda",
    aliases: &[],
    about: "weights that lower the validation loss",
    paper: "Liu et al., TMLR 2022, arXiv:2202.03091",
    verified: false,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The first λ.
    initial: f64,
    /// Adam's rate for λ.
    rate: f64,
    /// The tasks whose validation losses count, from 0; all if empty.
    primary: Vec<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { initial: 0.1, rate: 1e-4, primary: Vec::new() }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { initial, rate, mut primary } = settings::read(ENTRY.name, given)?;
    if let Some(task) = primary.iter().find(|task| **task >= tasks) {
        return Err(format!("`primary` of `auto-lambda` names task {task}, but the {tasks} tasks are counted from 0"));
    }
    if primary.is_empty() {
        primary = (0..tasks).collect();
    }
    let rule = AutoLambda { weights: vec![initial; tasks], primary, adam: Adam::new(tasks, rate, 0.0) };
    Ok(Weighting::Gram(Box::new(rule)))
}

struct AutoLambda {
    /// λ.
    weights: Vec<f64>,
    primary: Vec<usize>,
    adam: Adam,
}

impl Rule for AutoLambda {
    fn needs(&self) -> Needs {
        Needs { mini_batches: 2, validation_batch: true, ..Needs::default() }
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
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let tasks = self.weights.len();
        let gain = |task: usize| self.primary.iter().map(|&other| gram.at(task, tasks + other)).sum::<f64>();
        let gradient: Vec<f64> = (0..tasks).map(|task| -gain(task)).collect();
        self.adam.step(&mut self.weights, &gradient);
        self.weights.iter_mut().for_each(|weight| *weight = weight.max(0.0));
        Outcome::exact(self.weights.clone())
    }
}
