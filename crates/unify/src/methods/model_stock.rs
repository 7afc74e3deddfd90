//! Model stock: the point on the line from the ancestor to the mean of the models that is nearest to the centre that
//! their angles tell of.
//!
//! θ = t · Σ θₖ/K + (1 − t) θ₀, t = K cos ϑ / (1 + (K − 1) cos ϑ), cos ϑ the mean cosine of pairs of task vectors, for
//! each tensor.
//!
//! Jang et al., "Model stock: all we need is just a few fine-tuned models", ECCV 2024, equation 5 and appendix B. It is
//! meant for models of one task: between tasks cos ϑ is near 0, and so is t. A negative t, of task vectors that point
//! apart, moves away from the mean; where 1 + (K − 1) cos ϑ is below 1e-6 the ancestor stays, as in mergekit. A task
//! vector of 0 has the cosine 0 to the others; mergekit also lessens the cosine where norms multiply to less than 1e-6.
//! The authors' code merges two models after each epoch; after training, as here, is their variant without it.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{mean, moved};
use crate::linear::dot;
use crate::settings::Piece;
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "model-stock",
    aliases: &[],
    about: "from the ancestor towards the mean, as far as the angles between task vectors say",
    paper: "Jang et al., ECCV 2024, arXiv:2403.19522",
    needs: Needs { at_least: 2, ..Needs::WEIGHTS },
    per_task: false,
    build,
    defaults: settings::defaults::<ModelStockSettings>,
    source: include_str!("model_stock.rs"),
};

/// Below this, 1 + (K − 1) cos ϑ says nothing.
const SINGULAR: f64 = 1e-6;

/// The settings of `method = "model-stock"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelStockSettings {
    /// What has one angle: each `tensor`, or each `row`, the weights of one output.
    pub within: Piece,
}

impl Default for ModelStockSettings {
    fn default() -> Self {
        Self { within: Piece::Tensor }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    Ok(Box::new(ModelStock(settings::read(METHOD.name, given)?)))
}

struct ModelStock(ModelStockSettings);

impl Merge for ModelStock {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        moved(inputs, 1.0, |name, ancestor| {
            let deltas = inputs.deltas(name)?;
            let mut sum = mean(&deltas);
            let length = self.0.within.length(ancestor);
            for (at, piece) in sum.chunks_mut(length).enumerate() {
                let own: Vec<&[f64]> = deltas.iter().map(|delta| &delta[at * length..][..piece.len()]).collect();
                let ratio = ratio(&own);
                piece.iter_mut().for_each(|value| *value *= ratio);
            }
            Ok(sum)
        })
    }
}

/// t, from the task vectors of one piece.
fn ratio(deltas: &[&[f64]]) -> f64 {
    let norms: Vec<f64> = deltas.iter().map(|delta| dot(delta, delta).sqrt()).collect();
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (i, first) in deltas.iter().enumerate() {
        for (j, second) in deltas.iter().enumerate().skip(i + 1) {
            let scale = norms[i] * norms[j];
            sum += if scale > 0.0 { (dot(first, second) / scale).clamp(-1.0, 1.0) } else { 0.0 };
            pairs += 1.0;
        }
    }
    let (cosine, count) = (sum / pairs, deltas.len() as f64);
    let below = 1.0 + (count - 1.0) * cosine;
    if below.abs() < SINGULAR { 0.0 } else { count * cosine / below }
}
