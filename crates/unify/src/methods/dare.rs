//! DARE: drops elements of the task vectors at random and enlarges the rest, so that their expectation stays.
//!
//! τ̃ₖ = mₖ ⊙ τₖ / (1 − p), mₖ ~ Bernoulli(1 − p); then θ = θ₀ + λ Σ τ̃ₖ (`sum`), θ₀ + λ Σ τ̃ₖ / K (`mean`), or with
//! `agreed` θ₀ + λ · mean of those τ̃ₖ ≠ 0 that have the sign of their sum, as in TIES.
//!
//! Yu et al., "Language models are super Mario: absorbing abilities from homologous models as a free lunch", ICML 2024,
//! equation 1; p = 0.9 is theirs for encoders. An element is dropped or kept by (seed, tensor, model), whatever else is
//! merged. mergekit (`dare_linear`) enlarges each tensor to its former sum of magnitudes instead of by 1/(1 − p), and
//! its `dare_ties` takes the sum of what agrees.

use anyhow::Result;
use mtl_task::rng::Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{mean, moved, weighted_sum};
use crate::signs::{Aggregate, agreed};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "dare",
    aliases: &[],
    about: "drops task-vector elements at random, enlarges the rest",
    paper: "Yu et al., ICML 2024, arXiv:2311.03099",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<DareSettings>,
    source: include_str!("dare.rs"),
};

/// What is made of the task vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The mean of what has the elected sign.
    Agreed,
}

/// The settings of `method = "dare"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DareSettings {
    /// p, the probability that an element is dropped; at least 0 and below 1.
    pub drop: f64,
    /// Whether what is left is divided by 1 − p.
    pub rescale: bool,
    /// What is made of the task vectors: their `sum`, `mean`, or the mean of what is `agreed` in sign.
    pub combine: Combine,
    /// λ, how much of the result is added to the ancestor.
    pub scaling: f64,
    /// The seed of what is dropped.
    pub seed: u64,
}

impl Default for DareSettings {
    fn default() -> Self {
        Self { drop: 0.9, rescale: true, combine: Combine::Sum, scaling: 0.4, seed: 0 }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: DareSettings = settings::read(METHOD.name, given)?;
    if !(0.0..1.0).contains(&read.drop) {
        return Err(format!("`drop` of `dare` is a probability, at least 0 and below 1, found {}", read.drop));
    }
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    Ok(Box::new(Dare(read)))
}

struct Dare(DareSettings);

impl Merge for Dare {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let DareSettings { drop, rescale, combine, scaling, seed } = self.0;
        let factor = if rescale { (1.0 - drop).recip() } else { 1.0 };
        let key = Key::new(seed).named(METHOD.name);
        moved(inputs, scaling, |name, _| {
            let mut deltas = inputs.deltas(name)?;
            for (delta, model) in deltas.iter_mut().zip(inputs.models()) {
                let mut stream = key.named(name).named(&model.name).stream();
                delta.iter_mut().for_each(|value| *value *= if stream.uniform() < drop { 0.0 } else { factor });
            }
            Ok(match combine {
                Combine::Sum => weighted_sum(&deltas, &vec![1.0; deltas.len()]),
                Combine::Mean => mean(&deltas),
                Combine::Agreed => agreed(&deltas, Aggregate::Mean),
            })
        })
    }
}
