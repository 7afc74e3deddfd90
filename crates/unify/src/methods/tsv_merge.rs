//! Task singular vectors: of each task vector the first singular vectors, those of all tasks made orthogonal to each
//! other.
//!
//! For a matrix Δₖ = UₖΣₖVₖᵀ of rank at most r: k-th block of U, Σ, V = the ⌊r/K⌋ first singular vectors and values of
//! task k; W = W₀ + λ U⊥ Σ V⊥ᵀ, U⊥ and V⊥ the nearest orthogonal matrices to U and V (their polar factors). Of all
//! other tensors, and of matrices with fewer than K singular values, λ times the mean of the task vectors is added.
//!
//! Gargiulo et al., "Task singular vectors: reducing task interference in model merging", CVPR 2025, algorithm 1
//! (TSV-M); λ = 1 is theirs without held-out data. Their code decomposes every matrix but `text_projection`, tables of
//! embeddings too (`exclude` averages what it names), and drops the task vectors of matrices with fewer than K singular
//! values.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{mean, moved};
use crate::linear::outer_sum;
use crate::svd::{Svd, orthogonal};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "tsv-merge",
    aliases: &["tsv-m"],
    about: "the task vectors' first singular vectors, made orthogonal",
    paper: "Gargiulo et al., CVPR 2025, arXiv:2412.00081",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<TsvMergeSettings>,
    source: include_str!("tsv_merge.rs"),
};

/// The settings of `method = "tsv-merge"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TsvMergeSettings {
    /// λ, how much of the result is added to the ancestor.
    pub scaling: f64,
    /// Parts of names of matrices that are averaged instead, such as `embeddings`.
    pub exclude: Vec<String>,
}

impl Default for TsvMergeSettings {
    fn default() -> Self {
        Self { scaling: 1.0, exclude: Vec::new() }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: TsvMergeSettings = settings::read(METHOD.name, given)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    Ok(Box::new(TsvMerge(read)))
}

struct TsvMerge(TsvMergeSettings);

impl Merge for TsvMerge {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        settings::known_names(METHOD.name, &self.0.exclude, inputs)?;
        moved(inputs, self.0.scaling, |name, ancestor| {
            let deltas = inputs.deltas(name)?;
            let shape = settings::matrix(name, ancestor, &self.0.exclude);
            let Some((rows, columns)) = shape.filter(|(rows, columns)| *rows.min(columns) >= deltas.len()) else {
                return Ok(mean(&deltas));
            };
            let count = rows.min(columns) / deltas.len();
            let (mut left, mut values, mut right) = (Vec::new(), Vec::new(), Vec::new());
            for delta in &deltas {
                let own = Svd::of(delta, rows, columns);
                left.extend(own.left.into_iter().take(count));
                values.extend(own.values.into_iter().take(count));
                right.extend(own.right.into_iter().take(count));
            }
            Ok(outer_sum(&values, &orthogonal(left), &orthogonal(right), rows, columns))
        })
    }
}
