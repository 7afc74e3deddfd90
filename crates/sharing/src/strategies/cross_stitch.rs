//! Cross-stitch networks (Misra et al. 2016): an encoder for each task, and after each layer a learnt mix of them.
//!
//! h̃ₜ = Σₛ α_ts·hₛ, one α ∈ R^{K×K} for each layer, unconstrained. `init = "imbalanced"`, the paper's advice: 0.9 on
//! the diagonal and 0.1/(K − 1) beside it; `"balanced"`: 1/K everywhere; `"identity"`: single-task learning, for good
//! with `frozen`. The paper mixes two networks and has larger rates for α, which here has the encoder's.
//!
//! Every task brings its own text, so that all K encoders run on each task's batch: K² encoder passes a step, K alive
//! at once. `limit` is the largest K that is accepted.
//!
//! Defaults: imbalanced and trained, `limit` 4.
//!
//! Parameters: K·P + L·K².

use candle_core::{Result, Tensor};
use mtl_backbone::Pass;
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::stitch::{Init, Stitched, affordable};
use crate::{BuildContext, RateScales, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<CrossStitch>(
    "cross-stitch",
    "an encoder per task, states mixed after each layer; K² passes",
    "Misra et al. 2016",
    "K·P + L·K·K",
    true,
)
.with_source(include_str!("cross_stitch.rs"))
.with_rates(RateScales::PLAIN.mixing(100.));

/// The `[sharing]` section of `strategy = "cross-stitch"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossStitch {
    /// What the units are at first.
    pub init: Init,
    /// Whether they are not trained.
    pub frozen: bool,
    /// The most tasks that are accepted: K tasks take K² encoder passes a step.
    pub limit: usize,
}

impl Default for CrossStitch {
    fn default() -> Self {
        Self { init: Init::Imbalanced, frozen: false, limit: 4 }
    }
}

impl StrategySettings for CrossStitch {
    fn check(&self, tasks: usize) -> anyhow::Result<()> {
        affordable(tasks, self.limit)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        Ok(Box::new(CrossStitched(Stitched::insert(context, 1, self.init, 0.9, self.frozen)?)))
    }
}

struct CrossStitched(Stitched);

impl Sharing for CrossStitched {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let states = self.0.states(tasks, tokens, pass)?;
        Ok(states.into_iter().map(|mut states| states.swap_remove(states.len() - 1)).collect())
    }

    fn findings(&self) -> Result<Value> {
        Ok(json!({ "units": self.0.findings()? }))
    }
}
