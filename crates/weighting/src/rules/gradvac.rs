//! GradVac, gradient vaccine: pairs of gradients are turned towards the similarity they usually have.
//!
//! For each i, over j ≠ i in random order, φ the cosine of g′ᵢ and gⱼ and φ̂ᵢⱼ its moving average: if φ < φ̂ then
//! g′ᵢ ← g′ᵢ + ‖g′ᵢ‖ (φ̂√(1−φ²) − φ√(1−φ̂²)) / (‖gⱼ‖√(1−φ̂²)) gⱼ, after which their cosine is φ̂; then φ̂ ← (1−β)φ̂ + βφ.
//! d = Σ g′ᵢ.
//!
//! Wang et al., "Gradient Vaccine", ICLR 2021, algorithm 1. β = 0.5 as in LibMTL and TorchJD; LibMTL updates φ̂ only where
//! it acts, here as in the paper always. The whole vector is one group, as all of G is.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::take;
use crate::{
    Class, FromGram, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "gradvac",
    aliases: &["gradient-vaccine"],
    about: "gradients turned towards their usual similarity",
    paper: "Wang et al., ICLR 2021, arXiv:2010.05874",
    verified: true,
    class: Class::Gram,
    properties: &[Property::LinearUnderScaling],
    build,
    select: None,
    defaults: settings::defaults::<GradVacSettings>,
    source: include_str!("gradvac.rs"),
};

/// The settings of `rule = "gradvac"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradVacSettings {
    /// How fast the usual similarity follows.
    pub beta: f64,
}

impl Default for GradVacSettings {
    fn default() -> Self {
        Self { beta: 0.5 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let GradVacSettings { beta } = settings::read(RULE.name, given)?;
    if !(0.0..=1.0).contains(&beta) {
        return Err(format!("`beta` of `gradvac` must be in [0, 1], found {beta}"));
    }
    Ok(Weighting::Gram(Box::new(GradVac { beta, usual: vec![0.0; tasks * tasks] })))
}

struct GradVac {
    beta: f64,
    /// φ̂, `[tasks · tasks]`.
    usual: Vec<f64>,
}

impl WeightingRule for GradVac {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("usual", StateShape::PerPair)]
    }

    fn state(&self) -> State {
        State::from([("usual".into(), self.usual.clone())])
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.usual = take(state, "usual", self.usual.len())?;
        Ok(())
    }
}

impl FromGram for GradVac {
    fn balance(&mut self, gram: &Gram, seen: &StepInputs) -> Outcome {
        let mut stream = seen.key.named(RULE.name).stream();
        let tasks = gram.tasks();
        let mut weights = vec![0.0; tasks];
        for own in 0..tasks {
            let mut shares = vec![0.0; tasks];
            shares[own] = 1.0;
            for other in stream.permutation(tasks).into_iter().filter(|other| *other != own) {
                let products = gram.times(&shares);
                let square: f64 = products.iter().zip(&shares).map(|(p, s)| p * s).sum();
                let (length, theirs) = (square.max(0.0).sqrt(), gram.norm(other));
                // A vanished gradient has no bearing, and parallel ones are as similar as can be.
                if length == 0.0 || theirs == 0.0 {
                    continue;
                }
                let now = (products[other] / length / theirs).clamp(-1.0, 1.0);
                let usual = &mut self.usual[own * tasks + other];
                let (sine, usual_sine) = ((1.0 - now * now).sqrt(), (1.0 - *usual * *usual).max(0.0).sqrt());
                if now < *usual && usual_sine > 0.0 {
                    shares[other] += length * (*usual * sine - now * usual_sine) / (theirs * usual_sine);
                }
                *usual = (1.0 - self.beta) * *usual + self.beta * now;
            }
            weights.iter_mut().zip(&shares).for_each(|(weight, share)| *weight += share);
        }
        Outcome::exact(weights)
    }
}
