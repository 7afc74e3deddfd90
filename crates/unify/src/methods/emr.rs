//! EMR: elects one task vector for all tasks, and keeps a mask and a factor for each.
//!
//! γ = sgn(Σ τⱼ); τ_uni = γ ⊙ the largest |τⱼ| of those with the sign γ; mₖ = 1 where τₖ ⊙ τ_uni > 0;
//! θₖ = θ₀ + λₖ mₖ ⊙ τ_uni, λₖ = Σ|τₖ| / Σ|mₖ ⊙ τ_uni|.
//!
//! Huang et al., "EMR-merging: tuning-free high-performance model merging", NeurIPS 2024, algorithm 1. Their code takes
//! the means of each tensor and adds them up in place of both sums of λₖ, so that a bias counts as much as a matrix
//! (`factor_over = "tensor"`), and gives elements whose sum is exactly 0 a minus; by the formula τ_uni is 0 there.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{added, each, masked};
use crate::settings::Over;
use crate::signs::{Aggregate, agreed};
use crate::{Inputs, Mask, Merge, Merged, Method, Needs, Tensor, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "emr",
    aliases: &[],
    about: "one elected task vector, and for each task a mask and a factor",
    paper: "Huang et al., NeurIPS 2024, arXiv:2405.17461",
    needs: Needs::WEIGHTS,
    per_task: true,
    build,
    defaults: settings::defaults::<EmrSettings>,
    source: include_str!("emr.rs"),
};

/// The settings of `method = "emr"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmrSettings {
    /// What the sums of the factors are over: all elements of a `model`, or, as in the authors' code, the means of each
    /// `tensor`.
    pub factor_over: Over,
}

impl Default for EmrSettings {
    fn default() -> Self {
        Self { factor_over: Over::Model }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    Ok(Box::new(Emr(settings::read(METHOD.name, given)?)))
}

struct Emr(EmrSettings);

impl Merge for Emr {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let models = inputs.models().len();
        let made = each(inputs, |name, ancestor| {
            let deltas = inputs.deltas(name)?;
            let unified = agreed(&deltas, Aggregate::Max);
            let values = added(ancestor, 1.0, &unified).into_iter().map(|value| value as f32).collect();
            let count = match self.0.factor_over {
                Over::Model => 1.0,
                Over::Tensor => unified.len().max(1) as f64,
            };
            let of_task = |delta: &Vec<f64>| {
                let mask = Mask::new(delta.iter().zip(&unified).map(|(own, unified)| own * unified > 0.0));
                let own: f64 = delta.iter().map(|value| value.abs()).sum();
                let kept = unified.iter().enumerate().filter(|(at, _)| mask.get(*at));
                let kept: f64 = kept.map(|(_, value)| value.abs()).sum();
                (mask, own / count, kept / count)
            };
            Ok((Tensor { shape: ancestor.shape.clone(), values }, deltas.iter().map(of_task).collect::<Vec<_>>()))
        })?;
        let mut sums = vec![(0.0, 0.0); models];
        for (_, (_, tasks)) in &made {
            for (sum, (_, own, kept)) in sums.iter_mut().zip(tasks) {
                *sum = (sum.0 + own, sum.1 + kept);
            }
        }
        // A model that never moved, or moved only against all others, has nothing to enlarge.
        let factors: Vec<f64> = sums.iter().map(|(own, kept)| if *kept > 0.0 { own / kept } else { 1.0 }).collect();
        let masks = |tasks: Vec<(Mask, f64, f64)>| tasks.into_iter().map(|(mask, ..)| mask).collect();
        let made = made.into_iter().map(|(name, (tensor, tasks))| (name, (tensor, masks(tasks)))).collect();
        Ok(masked(inputs, made, &factors))
    }
}
