//! Isotropic merging in the common subspace: the sum of the task vectors, with all singular values made equal.
//!
//! For a matrix Σ Δₖ = U diag(σ) Vᵀ of at most r singular values: W = W₀ + λ σ̄ U Vᵀ, σ̄ = Σ σᵢ / r. Of all other
//! tensors λ times the mean of the task vectors is added.
//!
//! Marczak et al., "No task left behind: isotropic model merging with common and task-specific subspaces", ICML 2025,
//! algorithm 1 (Iso-C); λ is tuned there on held-out data. Where the sum has fewer than r singular values above
//! rounding, their code fills U Vᵀ with arbitrary vectors; here those directions stay the ancestor's. `exclude`
//! averages what it names.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{mean, moved, weighted_sum};
use crate::svd::Svd;
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "iso-c",
    aliases: &["isotropic"],
    about: "the sum of the task vectors with equal singular values",
    paper: "Marczak et al., ICML 2025, arXiv:2502.04959",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<IsoCSettings>,
    source: include_str!("iso_c.rs"),
};

/// The settings of `method = "iso-c"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsoCSettings {
    /// λ, how much of the result is added to the ancestor.
    pub scaling: f64,
    /// Parts of names of matrices that are averaged instead, such as `embeddings`.
    pub exclude: Vec<String>,
}

impl Default for IsoCSettings {
    fn default() -> Self {
        Self { scaling: 1.0, exclude: Vec::new() }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: IsoCSettings = settings::read(METHOD.name, given)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    Ok(Box::new(IsoC(read)))
}

struct IsoC(IsoCSettings);

impl Merge for IsoC {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        settings::known_names(METHOD.name, &self.0.exclude, inputs)?;
        moved(inputs, self.0.scaling, |name, ancestor| {
            let deltas = inputs.deltas(name)?;
            let Some((rows, columns)) = settings::matrix(name, ancestor, &self.0.exclude) else {
                return Ok(mean(&deltas));
            };
            let all = Svd::of(&weighted_sum(&deltas, &vec![1.0; deltas.len()]), rows, columns);
            let equal = all.values.iter().sum::<f64>() / rows.min(columns).max(1) as f64;
            Ok(all.with_values(&vec![equal; all.values.len()], rows, columns))
        })
    }
}
