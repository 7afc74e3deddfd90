//! The mean of the weights, or a weighted one.
//!
//! θ = Σ wₖ θₖ / Σ wₖ, wₖ = 1 by default.
//!
//! Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
//! inference time", ICML 2022 (the uniform soup). The ancestor has no part in it. mergekit calls it `linear`.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{double, merged, weighted_sum};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "average",
    aliases: &["linear"],
    about: "the mean of the weights",
    paper: "Wortsman et al., ICML 2022, arXiv:2203.05482",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<AverageSettings>,
    source: include_str!("average.rs"),
};

/// The settings of `method = "average"`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AverageSettings {
    /// A weight for each model, in their order; none for equal ones.
    pub weights: Vec<f64>,
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: AverageSettings = settings::read(METHOD.name, given)?;
    settings::weights(METHOD.name, &read.weights)?;
    Ok(Box::new(Average(read)))
}

struct Average(AverageSettings);

impl Merge for Average {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let mut weights = settings::weights_of(METHOD.name, &self.0.weights, inputs.models().len())?;
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        merged(inputs, |name, _| {
            let models: Vec<Vec<f64>> = inputs.of_models(name)?.into_iter().map(double).collect();
            Ok(weighted_sum(&models, &weights))
        })
    }
}
