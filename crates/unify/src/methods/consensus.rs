//! Consensus merging: task arithmetic without the elements that one task alone, or none, needs.
//!
//! θ = θ₀ + λ m ⊙ Σ τₖ, m = 1 where mₖ = 1 for at least `tasks` models; mₖ as TALL masks have them, from |τₖ| and
//! |Σ τⱼ − τₖ| · threshold.
//!
//! Wang et al., "Localizing task information for improved model merging and compression", ICML 2024, §4.2 and equation
//! 5; `tasks = 2` leaves out selfish and catastrophic weights. Threshold (of 0.2 to 0.6, for each task its own) and λ
//! are tuned there on held-out data. Their code may also take the TIES vector in place of the sum.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tall_masks::{needs, threshold};
use crate::each::{moved, weighted_sum};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "consensus",
    aliases: &[],
    about: "task arithmetic on the elements that several tasks need",
    paper: "Wang et al., ICML 2024, arXiv:2405.07813",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<ConsensusSettings>,
    source: include_str!("consensus.rs"),
};

/// The settings of `method = "consensus"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsensusSettings {
    /// How much larger than its distance from the sum, times this, a task's element has to be; at least 0.
    pub threshold: f64,
    /// How many tasks need an element that is kept.
    pub tasks: usize,
    /// λ, how much of the masked sum is added.
    pub scaling: f64,
}

impl Default for ConsensusSettings {
    fn default() -> Self {
        Self { threshold: 0.4, tasks: 2, scaling: 0.4 }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: ConsensusSettings = settings::read(METHOD.name, given)?;
    threshold(METHOD.name, read.threshold)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    Ok(Box::new(Consensus(read)))
}

struct Consensus(ConsensusSettings);

impl Merge for Consensus {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        let ConsensusSettings { threshold, tasks, scaling } = self.0;
        let models = inputs.models().len();
        ensure!(tasks <= models, "`tasks` of `consensus` is {tasks}, but there are {models} models");
        moved(inputs, scaling, |name, _| {
            let deltas = inputs.deltas(name)?;
            let mut sum = weighted_sum(&deltas, &vec![1.0; models]);
            for (at, total) in sum.iter_mut().enumerate() {
                let needed = deltas.iter().filter(|delta| needs(delta[at], *total, threshold)).count();
                if needed < tasks {
                    *total = 0.0;
                }
            }
            Ok(sum)
        })
    }
}
