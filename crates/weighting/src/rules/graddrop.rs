//! GradDrop, gradient sign dropout: per coordinate, only gradients of one sign pass, drawn by how pure the sign is.
//!
//! P = ½ (1 + Σgᵢ / Σ|gᵢ|) and U uniform per coordinate; where P > U the positive entries pass, where P < U the negative ones,
//! and of the others the share `leak`.
//!
//! Chen et al., "Just Pick a Sign", NeurIPS 2020, algorithm 1. Acts on the shared parameters' gradients, as in TorchJD, where
//! the paper and LibMTL act on representations. A coordinate that is 0 in every gradient stays 0, where P would be 0/0.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jacobian::chunks;
use crate::{Class, FromJacobian, Jacobian, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "graddrop",
    aliases: &[],
    about: "one sign per coordinate, drawn by its purity",
    paper: "Chen et al., NeurIPS 2020, arXiv:2010.06808",
    verified: true,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<GradDropSettings>,
    source: include_str!("graddrop.rs"),
};

/// The settings of `rule = "graddrop"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradDropSettings {
    /// Share of the dropped entries that passes all the same.
    pub leak: f64,
}

impl Default for GradDropSettings {
    fn default() -> Self {
        Self { leak: 0.0 }
    }
}

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    let GradDropSettings { leak } = settings::read(RULE.name, given)?;
    if !(0.0..=1.0).contains(&leak) {
        return Err(format!("`leak` of `graddrop` must be in [0, 1], found {leak}"));
    }
    Ok(Weighting::Jacobian(Box::new(GradDrop { leak })))
}

struct GradDrop {
    leak: f64,
}

impl WeightingRule for GradDrop {}

impl FromJacobian for GradDrop {
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let mut stream = seen.key.named(RULE.name).stream();
        chunks(mini_batches, |start, mini_batches| {
            let rows = &mini_batches[0];
            let direction: Vec<f64> = (0..rows[0].len())
                .map(|column| {
                    let entries = || rows.iter().map(|row| row[column]);
                    let total: f64 = entries().map(f64::abs).sum();
                    let purity = if total == 0.0 { 0.5 } else { 0.5 * (1.0 + entries().sum::<f64>() / total) };
                    let draw = stream.uniform();
                    let passes = |g: f64| if g > 0.0 { purity > draw } else { purity < draw };
                    entries().map(|g| if passes(g) { g } else { self.leak * g }).sum()
                })
                .collect();
            write(start, &direction);
        });
        Outcome::exact(Vec::new())
    }
}
