//! TALL masks: the sum of the task vectors is kept once, and for each task a mask that says where its information lies
//! in it.
//!
//! θₖ = θ₀ + mₖ ⊙ Σ τⱼ, mₖ = 1 where |τₖ| > threshold · |Σ τⱼ − τₖ|. Without its mask, a task has task arithmetic, θ₀ +
//! λ Σ τⱼ.
//!
//! Wang et al., "Localizing task information for improved model merging and compression", ICML 2024, equation 4. The
//! threshold is chosen there for each task of 0.2 to 0.6 on held-out data. The formula has ≥, the code >, which differs
//! where a task vector is 0. Their code may also take the TIES vector in place of the sum.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{added, each, masked, weighted_sum};
use crate::{Inputs, Mask, Merge, Merged, Method, Needs, Tensor, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "tall-masks",
    aliases: &[],
    about: "the sum of the task vectors, and for each task a mask over it",
    paper: "Wang et al., ICML 2024, arXiv:2405.07813",
    needs: Needs::WEIGHTS,
    per_task: true,
    build,
    defaults: settings::defaults::<TallMasksSettings>,
    source: include_str!("tall_masks.rs"),
};

/// The settings of `method = "tall-masks"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TallMasksSettings {
    /// How much larger than its distance from the sum, times this, a task's element has to be; at least 0.
    pub threshold: f64,
    /// λ, how much of the sum the weights without a mask have; not 0. Masked weights have all of it.
    pub scaling: f64,
}

impl Default for TallMasksSettings {
    fn default() -> Self {
        Self { threshold: 0.4, scaling: 0.4 }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: TallMasksSettings = settings::read(METHOD.name, given)?;
    threshold(METHOD.name, read.threshold)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    if read.scaling == 0.0 {
        return Err("`scaling` of `tall-masks` must not be 0: the masks are over what is added".to_owned());
    }
    Ok(Box::new(TallMasks(read)))
}

struct TallMasks(TallMasksSettings);

impl Merge for TallMasks {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let TallMasksSettings { threshold, scaling } = self.0;
        let made = each(inputs, |name, ancestor| {
            let deltas = inputs.deltas(name)?;
            let sum = weighted_sum(&deltas, &vec![1.0; deltas.len()]);
            let values = added(ancestor, scaling, &sum).into_iter().map(|value| value as f32).collect();
            let mask =
                |delta: &Vec<f64>| Mask::new(delta.iter().zip(&sum).map(|(own, sum)| needs(*own, *sum, threshold)));
            Ok((Tensor { shape: ancestor.shape.clone(), values }, deltas.iter().map(mask).collect()))
        })?;
        Ok(masked(inputs, made, &vec![scaling.recip(); inputs.models().len()]))
    }
}

/// Whether an element of a task vector is larger than its distance from the sum, times `threshold`.
pub(super) fn needs(own: f64, sum: f64, threshold: f64) -> bool {
    own.abs() > threshold * (sum - own).abs()
}

/// Refuses a threshold that is negative or not finite.
pub(super) fn threshold(method: &str, value: f64) -> Result<(), String> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(format!("`threshold` of `{method}` must be finite and at least 0, found {value}")),
    }
}
