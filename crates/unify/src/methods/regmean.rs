//! RegMean: each linear layer is the one whose outputs are nearest to those of every model's layer on its own inputs.
//!
//! W = (Σ Wₖ G̃ₖ)(Σ G̃ₖ)⁻¹, Gₖ = XₖᵀXₖ/n of the inputs of model k's layer, G̃ₖ = α Gₖ + (1 − α) diag(Gₖ); all other
//! tensors are averaged.
//!
//! Jin et al., "Dataless knowledge fusion by merging weights of language models", ICLR 2023, equation 2 and §4.3; α =
//! 0.9 is theirs for encoders. The minimiser of Σₖ ‖Xₖ(W − Wₖ)ᵀ‖² for α = 1. `ridge`, which is not in the paper, adds a
//! share of its mean diagonal to that of each G̃ₖ, which draws W to the mean of the Wₖ in directions that no input has;
//! their code inverts without looking.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{double, mean, merged};
use crate::linear::{add_product, add_scaled, cholesky, solve};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "regmean",
    aliases: &[],
    about: "linear layers that answer as the models' do on their own inputs",
    paper: "Jin et al., ICLR 2023, arXiv:2212.09849",
    needs: Needs { inner_products: true, ..Needs::WEIGHTS },
    per_task: false,
    build,
    defaults: settings::defaults::<RegMeanSettings>,
    source: include_str!("regmean.rs"),
};

/// The settings of `method = "regmean"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegMeanSettings {
    /// α, what elements off the diagonal of the inner products are multiplied by, from 0 to 1.
    pub off_diagonal: f64,
    /// What is added to the diagonal of each model's inner products, as a share of its mean; at least 0.
    pub ridge: f64,
}

impl Default for RegMeanSettings {
    fn default() -> Self {
        Self { off_diagonal: 0.9, ridge: 0.0 }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: RegMeanSettings = settings::read(METHOD.name, given)?;
    settings::share(METHOD.name, "off_diagonal", read.off_diagonal)?;
    if !(read.ridge >= 0.0 && read.ridge.is_finite()) {
        return Err(format!("`ridge` of `regmean` must be finite and at least 0, found {}", read.ridge));
    }
    Ok(Box::new(RegMean(read)))
}

struct RegMean(RegMeanSettings);

impl Merge for RegMean {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        merged(inputs, |name, ancestor| {
            let models: Vec<Vec<f64>> = inputs.of_models(name)?.into_iter().map(double).collect();
            let known = inputs.models().iter().map(|model| model.inner_products.as_ref()?.get(name));
            let known: Vec<Option<&Vec<f32>>> = known.collect();
            let found: Vec<&Vec<f32>> = known.iter().copied().flatten().collect();
            let size = ancestor.shape.get(1).copied().unwrap_or_default();
            if found.is_empty() || size == 0 {
                return Ok(mean(&models));
            }
            let lacks = inputs.models().iter().zip(&known).find(|(_, known)| known.is_none());
            if let Some((model, _)) = lacks {
                bail!("model `{}` has no inner products of `{name}`, which another model has", model.name);
            }
            self.solved(name, &models, &found, size)
        })
    }
}

impl RegMean {
    /// (Σ Wₖ G̃ₖ)(Σ G̃ₖ)⁻¹.
    fn solved(&self, name: &str, models: &[Vec<f64>], products: &[&Vec<f32>], size: usize) -> Result<Vec<f64>> {
        let mut right = vec![0.0; models.first().map_or(0, Vec::len)];
        let mut sum = vec![0.0; size * size];
        for (weights, products) in models.iter().zip(products) {
            let shrunk = |(at, value): (usize, &f32)| {
                let on = at / size == at % size;
                f64::from(*value) * if on { 1.0 } else { self.0.off_diagonal }
            };
            let mut own: Vec<f64> = products.iter().enumerate().map(shrunk).collect();
            let trace: f64 = (0..size).map(|i| own[i * size + i]).sum();
            (0..size).for_each(|i| own[i * size + i] += self.0.ridge * trace / size as f64);
            add_product(weights, &own, size, size, &mut right);
            add_scaled(&mut sum, 1.0, &own);
        }
        let lower = cholesky(&sum, size).with_context(|| {
            format!(
                "the inputs of `{name}` leave directions unseen: their inner products are singular; measure them on \
                 more texts, lower `off_diagonal` ({}), or raise `ridge` ({}), such as to 1e-6",
                self.0.off_diagonal, self.0.ridge
            )
        })?;
        right.chunks_exact_mut(size).for_each(|row| solve(&lower, size, row));
        Ok(right)
    }
}
