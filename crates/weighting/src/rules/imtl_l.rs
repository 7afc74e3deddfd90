//! IMTL-L, impartial loss balance: each task learns the scale that makes its loss 1.
//!
//! Minimises Σ eˢℓ − s over θ and s: the weight is eˢ, and s moves down eˢℓ − 1 by Adam at its own `rate`. At the
//! stationary point eˢ = 1/ℓ, the scale-invariant baseline.
//!
//! Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021, §3.3. s₀ = 0; LibMTL trains s with the model's optimizer
//! and applies IMTL-G on top, which here is a rule of its own. |s| ≤ `clamp`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adam::{Adam, PER_TASK as ADAM};
use crate::state::take;
use crate::{
    Class, FromLosses, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "imtl-l",
    aliases: &[],
    about: "a learned scale per loss",
    paper: "Liu et al., ICLR 2021",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<ImtlLSettings>,
    source: include_str!("imtl_l.rs"),
};

/// The settings of `rule = "imtl-l"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImtlLSettings {
    /// Adam's rate for s.
    pub rate: f64,
    /// The largest |s|.
    pub clamp: f64,
}

impl Default for ImtlLSettings {
    fn default() -> Self {
        Self { rate: 0.025, clamp: 10.0 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let ImtlLSettings { rate, clamp } = settings::read(RULE.name, given)?;
    Ok(Weighting::Losses(Box::new(ImtlL { scale: vec![0.0; tasks], clamp, adam: Adam::new(tasks, rate, 0.0) })))
}

struct ImtlL {
    /// s, one per task.
    scale: Vec<f64>,
    clamp: f64,
    adam: Adam,
}

impl WeightingRule for ImtlL {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("scale", StateShape::PerTask), ADAM[0], ADAM[1], ADAM[2]]
    }

    fn state(&self) -> State {
        let mut state = State::from([("scale".into(), self.scale.clone())]);
        self.adam.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let scale = take(state, "scale", self.scale.len())?;
        self.adam.restore(state)?;
        self.scale = scale;
        Ok(())
    }
}

impl FromLosses for ImtlL {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let weights: Vec<f64> = self.scale.iter().map(|s| s.exp()).collect();
        let gradient: Vec<f64> = weights.iter().enumerate().map(|(task, w)| w * seen.loss(task) - 1.0).collect();
        self.adam.step(&mut self.scale, &gradient);
        self.scale.iter_mut().for_each(|s| *s = s.clamp(-self.clamp, self.clamp));
        Outcome::exact(weights)
    }
}
