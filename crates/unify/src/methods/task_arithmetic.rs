//! Task arithmetic: the ancestor and a share of the sum of the task vectors.
//!
//! θ = θ₀ + λ Σ wₖ τₖ, wₖ = 1 by default.
//!
//! Ilharco et al., "Editing models with task arithmetic", ICLR 2023, §2 and §4. λ is tuned on held-out data there, with
//! 0.3 to 0.5 good throughout; 0.4 is what the TIES paper takes without such data. A negative weight makes a model
//! forget.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{moved, weighted_sum};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "task-arithmetic",
    aliases: &[],
    about: "the ancestor and a share of the sum of the task vectors",
    paper: "Ilharco et al., ICLR 2023, arXiv:2212.04089",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<TaskArithmeticSettings>,
    source: include_str!("task_arithmetic.rs"),
};

/// The settings of `method = "task-arithmetic"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskArithmeticSettings {
    /// λ, how much of the sum is added.
    pub scaling: f64,
    /// A weight for each task vector, in the models' order; none for 1 each. Negative ones are subtracted.
    pub weights: Vec<f64>,
}

impl Default for TaskArithmeticSettings {
    fn default() -> Self {
        Self { scaling: 0.4, weights: Vec::new() }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: TaskArithmeticSettings = settings::read(METHOD.name, given)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    read.weights.iter().try_for_each(|weight| settings::finite(METHOD.name, "weights", *weight))?;
    Ok(Box::new(TaskArithmetic(read)))
}

struct TaskArithmetic(TaskArithmeticSettings);

impl Merge for TaskArithmetic {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let weights = settings::weights_of(METHOD.name, &self.0.weights, inputs.models().len())?;
        moved(inputs, self.0.scaling, |name, _| Ok(weighted_sum(&inputs.deltas(name)?, &weights)))
    }
}
