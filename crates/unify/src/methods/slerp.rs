//! Spherical interpolation between two models: the way along the sphere, which keeps the length of the weights.
//!
//! θ = sin((1 − t)Ω)/sin Ω · θ₁ + sin(tΩ)/sin Ω · θ₂, cos Ω = ⟨θ₁, θ₂⟩ / (‖θ₁‖‖θ₂‖); where |cos Ω| > 0.9995, or a norm
//! is at most 1e-8, (1 − t)θ₁ + tθ₂.
//!
//! Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985; no paper merges networks by it, mergekit does,
//! tensor by tensor and with these bounds. Models of one ancestor mostly lie within the bound, so that it is their mean
//! for t = 0.5.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{double, each, merged, weighted_sum};
use crate::linear::dot;
use crate::settings::Over;
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "slerp",
    aliases: &[],
    about: "the way between two models along the sphere",
    paper: "Shoemake, SIGGRAPH 1985",
    needs: Needs { at_least: 2, at_most: Some(2), ..Needs::WEIGHTS },
    per_task: false,
    build,
    defaults: settings::defaults::<SlerpSettings>,
    source: include_str!("slerp.rs"),
};

/// Above this cosine, interpolation is linear.
const NEAR: f64 = 0.9995;

/// Below this norm, a vector has no direction.
const NOTHING: f64 = 1e-8;

/// The settings of `method = "slerp"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlerpSettings {
    /// t, how far on the way from the first model to the second, from 0 to 1.
    pub t: f64,
    /// What has one angle: all tensors of a `model` together, or each `tensor`.
    pub over: Over,
}

impl Default for SlerpSettings {
    fn default() -> Self {
        Self { t: 0.5, over: Over::Tensor }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: SlerpSettings = settings::read(METHOD.name, given)?;
    settings::share(METHOD.name, "t", read.t)?;
    Ok(Box::new(Slerp(read)))
}

struct Slerp(SlerpSettings);

impl Merge for Slerp {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let of_tensors = each(inputs, |name, _| {
            let models: Vec<Vec<f64>> = inputs.of_models(name)?.into_iter().map(double).collect();
            let [first, second] = &models[..] else {
                anyhow::bail!("`slerp` needs two models, found {}", models.len())
            };
            Ok([dot(first, first), dot(first, second), dot(second, second)])
        })?;
        let total = of_tensors.iter().fold([0.0; 3], |sum, (_, own)| [0, 1, 2].map(|at| sum[at] + own[at]));
        let products: BTreeMap<String, [f64; 3]> = of_tensors.into_iter().collect();
        merged(inputs, |name, _| {
            let own = match self.0.over {
                Over::Model => total,
                Over::Tensor => products.get(name).copied().unwrap_or_default(),
            };
            let models: Vec<Vec<f64>> = inputs.of_models(name)?.into_iter().map(double).collect();
            Ok(weighted_sum(&models, &coefficients(self.0.t, own)))
        })
    }
}

/// What each of the two counts, by their inner products ⟨a, a⟩, ⟨a, b⟩, ⟨b, b⟩.
fn coefficients(t: f64, [first, both, second]: [f64; 3]) -> [f64; 2] {
    let norms = (first.sqrt(), second.sqrt());
    let cosine = both / (norms.0 * norms.1);
    if norms.0 <= NOTHING || norms.1 <= NOTHING || cosine.abs() > NEAR {
        return [1.0 - t, t];
    }
    let angle = cosine.acos();
    [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}
