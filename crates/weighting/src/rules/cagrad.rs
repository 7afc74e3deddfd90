//! CAGrad, conflict-averse gradient descent: the direction near the mean gradient that serves the worst task best.
//!
//! d = argmax minᵢ ⟨gᵢ, d⟩ subject to ‖d − g₀‖ ≤ c‖g₀‖, g₀ = Σ gᵢ/K; then divided by 1 + c² (`square`, the authors' default),
//! 1 + c (`linear`) or nothing (`none`, the paper's definition).
//!
//! Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, algorithm 1. Solved exactly through
//! min-norm points; public code uses SLSQP or Clarabel, and the Nash-MTL code multiplies by K. c = 0.4 is the authors' choice
//! for NYUv2 and Cityscapes. Conflicts with no task if c ≥ 1; c = 0 is the mean.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::solver::compromise::compromise;
use crate::{Class, FromGram, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "cagrad",
    aliases: &[],
    about: "near the mean gradient, serving the worst task best",
    paper: "Liu et al., NeurIPS 2021, arXiv:2110.14048",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<CaGradSettings>,
    source: include_str!("cagrad.rs"),
};

/// What the direction is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rescale {
    /// By nothing, the paper's definition.
    None,
    /// By 1 + c².
    Square,
    /// By 1 + c.
    Linear,
}

/// The settings of `rule = "cagrad"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaGradSettings {
    /// Radius of the ball around the mean gradient, in its norms.
    pub c: f64,
    /// What the direction is divided by.
    pub rescale: Rescale,
}

impl Default for CaGradSettings {
    fn default() -> Self {
        Self { c: 0.4, rescale: Rescale::Square }
    }
}

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    let CaGradSettings { c, rescale } = settings::read(RULE.name, given)?;
    if !(c >= 0.0 && c.is_finite()) {
        return Err(format!("`c` of `cagrad` must be finite and not negative, found {c}"));
    }
    let divisor = match rescale {
        Rescale::None => 1.0,
        Rescale::Square => 1.0 + c * c,
        Rescale::Linear => 1.0 + c,
    };
    Ok(Weighting::Gram(Box::new(CaGrad { c, divisor })))
}

struct CaGrad {
    c: f64,
    divisor: f64,
}

impl WeightingRule for CaGrad {}

impl FromGram for CaGrad {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let mut outcome = compromise(gram, self.c);
        outcome.weights.iter_mut().for_each(|weight| *weight /= self.divisor);
        outcome
    }
}
