//! FAMO, fast adaptive multitask optimization: all log losses shall fall at the same speed, from losses alone.
//!
//! With z = softmax(ξ) and D = ℓ − minimum + 1e-8 the weights are wᵢ = zᵢ / (Dᵢ Σⱼ zⱼ/Dⱼ). After the optimizer's step on the
//! same batches ξ moves down zᵢ (δᵢ − ⟨z, δ⟩), δ = log D − log D′, by Adam with coupled weight decay.
//!
//! Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, algorithm 1. The decay γ has three defaults in
//! public code: 0.01 (`famo.py`), 1e-5 (its `weight_methods.py`), 1e-3 (LibMTL, TorchJD; here). The authors also clip the
//! gradient to norm 1, which is the optimizer's business here. A loss that is not above its minimum counts as 1e-8 above it,
//! with a warning.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::{Adam, PER_TASK as ADAM};
use crate::softmax::{pull_back, softmax};
use crate::state::take;
use crate::{
    Class, FromLosses, Needs, Outcome, PerTask, Property, Rule, State, StateShape, StepInputs, Warning, Weighting,
    WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "famo",
    aliases: &[],
    about: "equal rates of decrease, from losses alone",
    paper: "Liu et al., NeurIPS 2023, arXiv:2306.03792",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    select: Some(select),
    defaults: settings::defaults::<FamoSettings>,
    source: include_str!("famo.rs"),
};

/// The settings of `rule = "famo"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FamoSettings {
    /// Adam's rate for ξ.
    pub rate: f64,
    /// Its weight decay.
    pub decay: f64,
    /// What the losses are known to stay above: one number, or one a task in a list.
    pub minimum: PerTask,
}

impl Default for FamoSettings {
    fn default() -> Self {
        Self { rate: 0.025, decay: 1e-3, minimum: PerTask::Same(0.0) }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let FamoSettings { rate, decay, minimum } = settings::read(RULE.name, given)?;
    Ok(rule(rate, decay, minimum.of_all("`minimum` of `famo`", tasks)?))
}

fn select(given: &Value, tasks: &[usize]) -> Result<Weighting, String> {
    let FamoSettings { rate, decay, minimum } = settings::read(RULE.name, given)?;
    Ok(rule(rate, decay, minimum.of_some("`minimum` of `famo`", tasks)?))
}

fn rule(rate: f64, decay: f64, minimum: Vec<f64>) -> Weighting {
    let tasks = minimum.len();
    let (adam, before, pending) = (Adam::new(tasks, rate, decay), vec![0.0; tasks], vec![0.0; tasks]);
    Weighting::Losses(Box::new(Famo { logits: vec![0.0; tasks], minimum, adam, before, pending }))
}

struct Famo {
    /// ξ.
    logits: Vec<f64>,
    minimum: Vec<f64>,
    adam: Adam,
    /// log D of the step that `losses_after_step` will look back on.
    before: Vec<f64>,
    /// 1 for a task whose `before` is waiting to be looked back on.
    pending: Vec<f64>,
}

impl Famo {
    /// D of a task.
    fn excess(&self, task: usize, loss: f64) -> f64 {
        (loss - self.minimum[task]).max(0.0) + 1e-8
    }
}

impl WeightingRule for Famo {
    fn needs(&self) -> Needs {
        Needs { losses_after_step: true, ..Needs::default() }
    }

    fn losses_after_step(&mut self, losses: &[f64]) {
        if self.pending.contains(&0.0) {
            return;
        }
        self.pending.fill(0.0);
        let fall = |(task, loss): (usize, &f64)| self.before[task] - self.excess(task, *loss).ln();
        let falls: Vec<f64> = losses.iter().enumerate().map(fall).collect();
        let gradient = pull_back(&softmax(&self.logits), &falls);
        self.adam.step(&mut self.logits, &gradient);
    }

    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[
            ("logits", StateShape::PerTask),
            ("before", StateShape::PerTask),
            ("pending", StateShape::PerTask),
            ADAM[0],
            ADAM[1],
            ADAM[2],
        ]
    }

    fn state(&self) -> State {
        let mut state = State::from([
            ("logits".into(), self.logits.clone()),
            ("before".into(), self.before.clone()),
            ("pending".into(), self.pending.clone()),
        ]);
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let logits = take(state, "logits", self.logits.len())?;
        let before = take(state, "before", self.logits.len())?;
        let pending = take(state, "pending", self.logits.len())?;
        self.adam.restore(state)?;
        (self.logits, self.before, self.pending) = (logits, before, pending);
        Ok(())
    }
}

impl FromLosses for Famo {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let excess: Vec<f64> = (0..self.logits.len()).map(|task| self.excess(task, seen.loss(task))).collect();
        let warning = (excess.iter().any(|excess| *excess <= 1e-8)).then_some(Warning::NonPositiveLoss);
        let shares: Vec<f64> = softmax(&self.logits).iter().zip(&excess).map(|(z, d)| z / d).collect();
        let total: f64 = shares.iter().sum();
        self.before = excess.iter().map(|d| d.ln()).collect();
        self.pending.fill(1.0);
        Outcome { warning, ..Outcome::exact(shares.iter().map(|share| share / total).collect()) }
    }
}
