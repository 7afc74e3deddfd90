//! Compressed task vectors: every task keeps its own, each matrix as its first singular vectors.
//!
//! Wₖ = B + Uₖ Σₖ Vₖᵀ with the max(1, ⌊rank · r⌋) largest of the r singular values of Wₖ − B, B = W₀ (`around =
//! "ancestor"`) or the mean of the Wₖ (`"average"`). Tensors that are no matrices are the task's own, and so are
//! matrices whose factors would take more than they do.
//!
//! Gargiulo et al., "Task singular vectors: reducing task interference in model merging", CVPR 2025, §4.1 (TSV-C),
//! around the ancestor; a tenth of the singular values keeps 99 % of the accuracy there. Around the mean, what all
//! tasks learned is kept once. Nothing is merged: this is how much separate models weigh, a ceiling for methods that do
//! merge.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{added, each, mean, with_parts};
use crate::linear::add_scaled;
use crate::select::count_of;
use crate::svd::Svd;
use crate::{Inputs, Merge, Merged, Method, Needs, Part, Tensor, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "svd-deltas",
    aliases: &["tsv-c"],
    about: "each task vector, compressed to its first singular vectors",
    paper: "Gargiulo et al., CVPR 2025, arXiv:2412.00081",
    needs: Needs::WEIGHTS,
    per_task: true,
    build,
    defaults: settings::defaults::<SvdDeltasSettings>,
    source: include_str!("svd_deltas.rs"),
};

/// What the differences are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Around {
    /// The ancestor.
    Ancestor,
    /// The mean of the models.
    Average,
}

/// The settings of `method = "svd-deltas"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SvdDeltasSettings {
    /// The share of singular values that is kept, above 0 and at most 1.
    pub rank: f64,
    /// What the differences are taken from: the `ancestor`, or the `average` of the models.
    pub around: Around,
}

impl Default for SvdDeltasSettings {
    fn default() -> Self {
        Self { rank: 0.1, around: Around::Ancestor }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: SvdDeltasSettings = settings::read(METHOD.name, given)?;
    settings::share_of_some(METHOD.name, "rank", read.rank)?;
    Ok(Box::new(SvdDeltas(read)))
}

struct SvdDeltas(SvdDeltasSettings);

impl Merge for SvdDeltas {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let made = each(inputs, |name, ancestor| {
            let mut deltas = inputs.deltas(name)?;
            let mut values = ancestor.values.clone();
            if self.0.around == Around::Average {
                let centre = mean(&deltas);
                deltas.iter_mut().for_each(|delta| add_scaled(delta, -1.0, &centre));
                values = added(ancestor, 1.0, &centre).into_iter().map(|value| value as f32).collect();
            }
            let own = inputs.of_models(name)?;
            let parts = deltas.iter().zip(own).map(|(delta, own)| self.part(delta, own)).collect::<Vec<_>>();
            Ok((Tensor { shape: ancestor.shape.clone(), values }, parts))
        })?;
        Ok(with_parts(inputs, made, &vec![1.0; inputs.models().len()]))
    }
}

impl SvdDeltas {
    fn part(&self, delta: &[f64], own: &Tensor) -> Part {
        let [rows, columns] = own.shape[..] else { return Part::Own(own.values.clone()) };
        let rank = count_of(self.0.rank, rows.min(columns));
        if rank * (rows + columns) > rows * columns {
            return Part::Own(own.values.clone());
        }
        let svd = Svd::of(delta, rows, columns);
        let rank = rank.min(svd.values.len());
        let kept = || svd.values.iter().zip(&svd.left).take(rank);
        let left = (0..rows).flat_map(|i| kept().map(move |(value, vector)| (value * vector[i]) as f32)).collect();
        let right = svd.right.iter().take(rank).flatten().map(|value| *value as f32).collect();
        Part::LowRank { left, right, rank, to_merged: self.0.around == Around::Average }
    }
}
