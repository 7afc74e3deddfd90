//! Aligned-MTL: the gradients are rotated and scaled, as little as possible, until they are orthogonal and of equal length.
//!
//! w = √s · V Λ^(−½) Vᵀ p with G = V Λ Vᵀ over the range of G, p the preference, and the common length √s from the
//! eigenvalues: their `min`, `median` or mean (`rmse`); d = Σ wᵢ gᵢ.
//!
//! Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, algorithm 1. The paper takes the
//! smallest eigenvalue. Preferences of 1/K are TorchJD's (`mean`), of 1 LibMTL's (`sum`). Eigenvalues below K·2⁻⁵² of the largest
//! count as 0. A zero gradient has weight 0; where the gradients' hull holds 0 they cannot be aligned all: Pareto stationary.

use mtl_nash::{Gram, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::solver::eigen::{Spectrum, stationary};
use crate::{Class, FromGram, Outcome, Preference, Property, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "aligned-mtl",
    aliases: &["aligned"],
    about: "gradients made orthogonal and equally long",
    paper: "Senushkin et al., CVPR 2023, arXiv:2305.19000",
    verified: true,
    class: Class::Gram,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<AlignedMtlSettings>,
    source: include_str!("aligned_mtl.rs"),
};

/// Where the common length of the aligned gradients comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlignedScale {
    /// The smallest eigenvalue.
    Min,
    /// The median.
    Median,
    /// The mean.
    Rmse,
}

/// The settings of `rule = "aligned-mtl"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignedMtlSettings {
    /// Where the common length comes from.
    pub scale: AlignedScale,
    /// What the aligned gradients are summed with.
    pub preference: Preference,
}

impl Default for AlignedMtlSettings {
    fn default() -> Self {
        Self { scale: AlignedScale::Min, preference: Preference::Mean }
    }
}

fn build(_tasks: usize, given: &Value) -> Result<Weighting, String> {
    let AlignedMtlSettings { scale, preference } = settings::read(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(AlignedMtl { scale, preference })))
}

struct AlignedMtl {
    scale: AlignedScale,
    preference: Preference,
}

impl WeightingRule for AlignedMtl {}

impl FromGram for AlignedMtl {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let tasks = gram.tasks();
        let preference = vec![self.preference.of(tasks); tasks];
        let spectrum = Spectrum::of(gram);
        let range = &spectrum.values[..spectrum.rank()];
        if range.is_empty() {
            return Outcome::solved(preference, 0.0, 0, Status::ZeroGradient(0));
        }
        let square = match self.scale {
            AlignedScale::Min => range[range.len() - 1],
            // Of an even number the lower median, as in TorchJD.
            AlignedScale::Median => range[range.len() / 2],
            AlignedScale::Rmse => range.iter().sum::<f64>() / range.len() as f64,
        };
        let weights = spectrum.apply(&preference, |value| (square / value).sqrt());
        let present: Vec<usize> = (0..tasks).filter(|&task| gram.at(task, task) > 0.0).collect();
        let absent = (0..tasks).find(|task| !present.contains(task));
        let status = match (stationary(gram, &present, range.len() < present.len()), absent) {
            (true, _) => Status::ParetoStationary,
            (false, Some(task)) => Status::ZeroGradient(task),
            (false, None) => Status::Agreed,
        };
        Outcome::solved(weights, 0.0, 0, status)
    }
}
