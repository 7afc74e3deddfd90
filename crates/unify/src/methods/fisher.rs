//! Fisher merging: every weight counts as much as its model's predictions depend on it.
//!
//! θ = Σ cₖ F̄ₖ ⊙ θₖ / Σ cₖ F̄ₖ, F̄ₖ = max(Fₖ, floor) the diagonal of the Fisher information, cₖ = wₖ / ‖Fₖ‖ over all
//! tensors (cₖ = wₖ with `normalise = false`), wₖ = 1 by default.
//!
//! Matena and Raffel, "Merging models with Fisher-weighted averaging", NeurIPS 2022, equation 4 and appendix. Their
//! code applies the floor to the first model alone, the "target"; here all models have it. fusion_bench (after MergeLM)
//! adds the floor instead of taking the maximum. wₖ are searched on held-out data there.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::merged;
use crate::inputs::tensor;
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "fisher",
    aliases: &[],
    about: "the mean of the weights, each by its Fisher information",
    paper: "Matena and Raffel, NeurIPS 2022, arXiv:2111.09832",
    needs: Needs { fisher: true, ..Needs::WEIGHTS },
    per_task: false,
    build,
    defaults: settings::defaults::<FisherSettings>,
    source: include_str!("fisher.rs"),
};

/// The settings of `method = "fisher"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FisherSettings {
    /// The least Fisher information that a weight counts with, above 0: where no model has more, it is the mean.
    pub floor: f64,
    /// Whether the Fisher information of each model is divided by its norm.
    pub normalise: bool,
    /// A weight for each model, in their order; none for 1 each.
    pub weights: Vec<f64>,
}

impl Default for FisherSettings {
    fn default() -> Self {
        Self { floor: 1e-6, normalise: true, weights: Vec::new() }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: FisherSettings = settings::read(METHOD.name, given)?;
    settings::weights(METHOD.name, &read.weights)?;
    if !(read.floor > 0.0 && read.floor.is_finite()) {
        return Err(format!("`floor` of `fisher` must be finite and above 0, found {}", read.floor));
    }
    Ok(Box::new(Fisher(read)))
}

struct Fisher(FisherSettings);

impl Merge for Fisher {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let mut coefficients = settings::weights_of(METHOD.name, &self.0.weights, inputs.models().len())?;
        if self.0.normalise {
            for (coefficient, model) in coefficients.iter_mut().zip(inputs.models()) {
                let values = model.fisher.iter().flatten().flat_map(|(_, values)| values);
                let square: f64 = values.map(|value| f64::from(*value).powi(2)).sum();
                ensure!(
                    square > 0.0,
                    "the Fisher information of model `{}` is 0 everywhere; measure it on more texts",
                    model.name
                );
                *coefficient /= square.sqrt();
            }
        }
        merged(inputs, |name, ancestor| {
            let length = ancestor.values.len();
            let (mut above, mut below) = (vec![0.0; length], vec![0.0; length]);
            for (model, coefficient) in inputs.models().iter().zip(&coefficients) {
                let known = model.fisher.as_ref().and_then(|fisher| fisher.get(name));
                let fisher =
                    known.with_context(|| format!("model `{}` has no Fisher information of `{name}`", model.name))?;
                let weights = &tensor(&model.tensors, name)?.values;
                for (at, (fisher, weight)) in fisher.iter().zip(weights).enumerate() {
                    let share = coefficient * f64::from(*fisher).max(self.0.floor);
                    above[at] += share * f64::from(*weight);
                    below[at] += share;
                }
            }
            Ok(above.iter().zip(&below).map(|(above, below)| above / below).collect())
        })
    }
}
