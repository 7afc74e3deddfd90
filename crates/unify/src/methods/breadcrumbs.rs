//! Model breadcrumbs: task arithmetic without the smallest elements of each task vector, and without its outliers.
//!
//! θ = θ₀ + λ Σ mₖ ⊙ τₖ, mₖ = 0 at the ⌊smallest · n⌋ smallest and the ⌊largest · n⌋ largest |τₖ| of each tensor of n
//! elements.
//!
//! Davari and Belilovsky, "Model breadcrumbs: scaling multi-task model merging with sparse masks", ECCV 2024, equations
//! 2 and 3: their β is `smallest`, their γ is 1 − `largest`. The three numbers are tuned there on held-out data, once
//! for any number of tasks. Their code masks each row on its own (`within = "row"`); mergekit the tensor, with
//! `density` = 1 − smallest − largest and `gamma` = largest.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{moved, weighted_sum};
use crate::select::{largest, magnitudes};
use crate::settings::Piece;
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "breadcrumbs",
    aliases: &[],
    about: "task arithmetic without the smallest and the largest elements",
    paper: "Davari and Belilovsky, ECCV 2024, arXiv:2312.06795",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<BreadcrumbsSettings>,
    source: include_str!("breadcrumbs.rs"),
};

/// The settings of `method = "breadcrumbs"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreadcrumbsSettings {
    /// The share of elements that is left out because they are small.
    pub smallest: f64,
    /// The share of elements that is left out because they are large.
    pub largest: f64,
    /// Within what elements are ranked: each `tensor`, or each `row`.
    pub within: Piece,
    /// λ, how much of the sum is added.
    pub scaling: f64,
}

impl Default for BreadcrumbsSettings {
    fn default() -> Self {
        Self { smallest: 0.85, largest: 0.007, within: Piece::Tensor, scaling: 0.3 }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: BreadcrumbsSettings = settings::read(METHOD.name, given)?;
    settings::share(METHOD.name, "smallest", read.smallest)?;
    settings::share(METHOD.name, "largest", read.largest)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    if read.smallest + read.largest >= 1.0 {
        return Err(format!(
            "`smallest` and `largest` of `breadcrumbs` must together leave out less than all, found {} and {}",
            read.smallest, read.largest
        ));
    }
    Ok(Box::new(Breadcrumbs(read)))
}

struct Breadcrumbs(BreadcrumbsSettings);

impl Merge for Breadcrumbs {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        moved(inputs, self.0.scaling, |name, ancestor| {
            let mut deltas = inputs.deltas(name)?;
            for piece in deltas.iter_mut().flat_map(|delta| delta.chunks_mut(self.0.within.length(ancestor))) {
                self.mask(piece);
            }
            Ok(weighted_sum(&deltas, &vec![1.0; deltas.len()]))
        })
    }
}

impl Breadcrumbs {
    fn mask(&self, piece: &mut [f64]) {
        let count = |share: f64| (share * piece.len() as f64) as usize;
        let (small, large) = (count(self.0.smallest), count(self.0.largest));
        let sizes = magnitudes(piece);
        let (outliers, kept) = (largest(&sizes, large), largest(&sizes, piece.len() - small));
        for ((value, outlier), kept) in piece.iter_mut().zip(outliers).zip(kept) {
            if outlier || !kept {
                *value = 0.0;
            }
        }
    }
}
