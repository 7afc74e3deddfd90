//! FAMO, fast adaptive multitask optimization: all log losses shall fall at the same speed, at the cost of one backward
//! pass.
//!
//! With z = softmax(ξ) and D = ℓ − minimum + 1e-8 the weights are wᵢ = zᵢ / (Dᵢ Σⱼ zⱼ/Dⱼ). After the optimizer's step on the
//! same batches ξ moves down zᵢ (δᵢ − ⟨z, δ⟩), δ = log D − log D′, by Adam with coupled weight decay.
//!
//! Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, algorithm 1. The decay γ has three defaults in
//! public code: 0.01 (`famo.py`), 1e-5 (its `weight_methods.py`), 1e-3 (LibMTL, TorchJD; here). The authors also clip the
//! gradient to norm 1, which is the optimizer's business here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::Adam;
use crate::softmax::{pull_back, softmax};
use crate::state::{take, take_if_saved};
use crate::{Class, Entry, FromLosses, Needs, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "famo",
    aliases: &[],
    about: "equal rates of decrease, from losses alone",
    paper: "Liu et al., NeurIPS 2023, arXiv:2306.03792",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Adam's rate for ξ.
    rate: f64,
    /// Its weight decay.
    decay: f64,
    /// What every loss is known to stay above.
    minimum: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 0.025, decay: 1e-3, minimum: 0.0 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { rate, decay, minimum } = settings::read(ENTRY.name, given)?;
    let adam = Adam::new(tasks, rate, decay);
    Ok(Weighting::Losses(Box::new(Famo { logits: vec![0.0; tasks], minimum, adam, before: None })))
}

struct Famo {
    /// ξ.
    logits: Vec<f64>,
    minimum: f64,
    adam: Adam,
    /// log D of the step that `losses_after_step` will look back on.
    before: Option<Vec<f64>>,
}

impl Famo {
    fn excess(&self, loss: f64) -> f64 {
        (loss - self.minimum).max(0.0) + 1e-8
    }
}

impl Rule for Famo {
    fn needs(&self) -> Needs {
        Needs { losses_after_step: true, ..Needs::default() }
    }

    fn losses_after_step(&mut self, losses: &[f64]) {
        let Some(before) = self.before.take() else { return };
        let falls: Vec<f64> = before.iter().zip(losses).map(|(b, loss)| b - self.excess(*loss).ln()).collect();
        let gradient = pull_back(&softmax(&self.logits), &falls);
        self.adam.step(&mut self.logits, &gradient);
    }

    fn state(&self) -> State {
        let mut state = State::from([("logits".into(), self.logits.clone())]);
        state.extend(self.before.iter().map(|before| ("before".to_owned(), before.clone())));
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let logits = take(state, "logits", self.logits.len())?;
        self.before = take_if_saved(state, "before", self.logits.len())?;
        self.adam.restore(state)?;
        self.logits = logits;
        Ok(())
    }
}

impl FromLosses for Famo {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let excess: Vec<f64> = (0..self.logits.len()).map(|task| self.excess(seen.loss(task))).collect();
        let shares: Vec<f64> = softmax(&self.logits).iter().zip(&excess).map(|(z, d)| z / d).collect();
        let total: f64 = shares.iter().sum();
        self.before = Some(excess.iter().map(|d| d.ln()).collect());
        Outcome::exact(shares.iter().map(|share| share / total).collect())
    }
}
