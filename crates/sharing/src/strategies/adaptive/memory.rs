//! What the strategy knows beside its parameters, as a checkpoint keeps it.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bands::Bands;
use super::clues::Clues;
use super::plan::Plan;
use super::weights::Own;

/// The tensor's name.
const NAME: &str = "memory";

/// All of it but the evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The structure.
    pub(super) bands: Bands,
    /// What tasks have of their own, by their numbers, once the blend began.
    pub(super) own: BTreeMap<usize, Own>,
    /// What gradients said.
    pub(super) clues: Clues,
    /// Whether the steps of evidence are over.
    pub(super) judged: bool,
    /// What is to happen when; known from the first step on.
    pub(super) plan: Option<Plan>,
    /// Races that are over, those that found nothing to try included.
    pub(super) done: usize,
    /// Whether the model is an arm of a race.
    pub(super) racing: bool,
    /// Where on the line between two groups an arm that joins them began.
    pub(super) joined_at: Option<f64>,
    /// Structures that lost a race.
    pub(super) tried: Vec<Bands>,
    /// The baselines' losses, by task.
    pub(super) scales: Vec<f64>,
    /// Steps taken, and steps paid beside them.
    pub(super) steps: usize,
    pub(super) charged: usize,
    /// What was told of races and of the blend.
    pub(super) history: Vec<Value>,
    /// The structures so far, each with the steps spent when it began.
    pub(super) timeline: Vec<(usize, String)>,
}

impl Memory {
    /// Steps spent.
    pub(super) fn spent(&self) -> usize {
        self.steps + self.charged
    }

    /// The baseline's loss of `task`, that losses are measured in; 1 where it is not known.
    pub(super) fn scale(&self, task: usize) -> f64 {
        self.scales.get(task).copied().filter(|scale| *scale > 0.).unwrap_or(1.)
    }

    /// As a tensor of bytes.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let bytes = serde_json::to_vec(self).map_err(candle_core::Error::wrap)?;
        let length = bytes.len();
        Ok(BTreeMap::from([(NAME.to_string(), Tensor::from_vec(bytes, length, &Device::Cpu)?)]))
    }

    /// # Errors
    /// If it is not a state of this strategy for `tasks` tasks.
    pub(super) fn restored(tasks: usize, state: &BTreeMap<String, Tensor>) -> Result<Self> {
        let Some(tensor) = state.get(NAME) else { candle_core::bail!("the saved state lacks `{NAME}`") };
        let found: Self = match serde_json::from_slice(&tensor.to_vec1::<u8>()?) {
            Ok(found) => found,
            Err(error) => candle_core::bail!("the saved `{NAME}` is no state of this strategy: {error}"),
        };
        let whole = |band: &super::bands::Band| band.groups.iter().map(crate::TaskSet::len).sum::<usize>() == tasks;
        if found.bands.0.len() != super::bands::BANDS.len()
            || !found.bands.0.iter().all(whole)
            || !found.clues.is_of(tasks)
        {
            candle_core::bail!("the saved `{NAME}` is not of {tasks} tasks");
        }
        Ok(found)
    }
}
