//! TIES: trims each task vector to its largest elements, elects a sign for every element, and takes the mean of what
//! has it.
//!
//! τ̂ₖ = τₖ where |τₖ| is among the ⌊density · d⌋ largest of the model's d, else 0; γ = sgn(Σ τ̂ₖ);
//! θ = θ₀ + λ · mean of those τ̂ₖ ≠ 0 with the sign γ.
//!
//! Yadav et al., "TIES-Merging: resolving interference when merging models", NeurIPS 2023, algorithm 1; density 0.2 and
//! λ = 1 are theirs without held-out data. Their code keeps one element more (`kthvalue` with ≥), and gives elements
//! whose sum is exactly 0 the sign of the majority of all elements; mergekit trims each tensor on its own (`over =
//! "tensor"`) and gives them a plus. Here, as in the formula, such elements stay the ancestor's.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::moved;
use crate::select::{count_of, largest, magnitudes};
use crate::settings::Over;
use crate::signs::{Aggregate, agreed};
use crate::{Inputs, Mask, Merge, Merged, Method, Model, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "ties",
    aliases: &[],
    about: "trims task vectors, elects signs, and takes the mean of what agrees",
    paper: "Yadav et al., NeurIPS 2023, arXiv:2306.01708",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<TiesSettings>,
    source: include_str!("ties.rs"),
};

/// The settings of `method = "ties"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TiesSettings {
    /// The share of elements of a task vector that is kept, above 0 and at most 1.
    pub density: f64,
    /// Over what the largest are found: `model`, all tensors together, or each `tensor`.
    pub over: Over,
    /// What is made of the values that have the elected sign: their `mean`, `sum`, or the one of `max` magnitude.
    pub aggregate: Aggregate,
    /// λ, how much of the result is added to the ancestor.
    pub scaling: f64,
}

impl Default for TiesSettings {
    fn default() -> Self {
        Self { density: 0.2, over: Over::Model, aggregate: Aggregate::Mean, scaling: 1.0 }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: TiesSettings = settings::read(METHOD.name, given)?;
    settings::share_of_some(METHOD.name, "density", read.density)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    Ok(Box::new(Ties(read)))
}

struct Ties(TiesSettings);

impl Merge for Ties {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let TiesSettings { density, over, aggregate, scaling } = self.0;
        let kept = match over {
            Over::Model => Some(kept_of_models(inputs, density)?),
            Over::Tensor => None,
        };
        moved(inputs, scaling, |name, _| {
            let mut deltas = inputs.deltas(name)?;
            for (model, delta) in deltas.iter_mut().enumerate() {
                match kept.as_ref().and_then(|kept| kept.get(model)?.get(name)) {
                    Some(mask) => clear(delta, |at| mask.get(at)),
                    None => {
                        let kept = largest(&magnitudes(delta), count_of(density, delta.len()));
                        clear(delta, |at| kept[at]);
                    }
                }
            }
            Ok(agreed(&deltas, aggregate))
        })
    }
}

/// For each model, what is kept of each tensor when all of them are ranked together.
fn kept_of_models(inputs: &Inputs, density: f64) -> Result<Vec<BTreeMap<String, Mask>>> {
    let of_model = |model: &Model| {
        let mut all = Vec::new();
        for name in inputs.ancestor().keys() {
            all.extend(magnitudes(&inputs.delta(model, name)?));
        }
        let mut kept = largest(&all, count_of(density, all.len())).into_iter();
        let masks = inputs.ancestor().iter().map(|(name, tensor)| {
            let mask = Mask::new(kept.by_ref().take(tensor.values.len()));
            (name.clone(), mask)
        });
        Ok(masks.collect())
    };
    inputs.models().iter().map(of_model).collect()
}

fn clear(delta: &mut [f64], kept: impl Fn(usize) -> bool) {
    delta.iter_mut().enumerate().filter(|(at, _)| !kept(*at)).for_each(|(_, value)| *value = 0.0);
}
