//! BitFit (Ben-Zaken, Ravfogel and Goldberg 2022): of the encoder only the biases are trained.
//!
//! θ_t = θ with its biases b replaced by the task's own b_t, LayerNorm shifts included, starting from b. The weight
//! gradients of the frozen matrices are never computed. `biases = "query-and-intermediate"` keeps to the query's and
//! the first feed-forward map's, which the paper finds to matter most (its b_q and b_m2).
//!
//! Defaults: a frozen base, every bias, private to each task (the paper trains one task at a time).
//! With `share` all tasks train the same biases. A trained base with shared biases is hard sharing, and refused.
//!
//! Parameters: P + K·b with b the number of biases (K = 1 with `share`): L·(7·H + I) + W for L layers of width H with
//! feed-forward width I and word vectors of width W, and H more where these are projected (W ≠ H); for
//! `query-and-intermediate` L·(H + I).

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Entry, Family, Layout, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::additions::{Additions, base, merged, norm};
use crate::blocks::overlay::{self, Choice, OverlayMode, Overlays};
use crate::blocks::target::Target;
use crate::{BuildContext, EncoderWeights, RateScales, Sharing, Strategy, StrategySettings, walk};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<BitFit>(
    "bitfit",
    "a frozen encoder, each task's own biases",
    "Ben-Zaken et al. 2022",
    "P + K·(7·H·L + I·L + H), I the feed-forward width",
    false,
)
.with_source(include_str!("bitfit.rs"))
.with_rates(RateScales::PLAIN.added(30.));

/// The `[sharing]` section of `strategy = "bitfit"`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BitFit {
    /// Which biases are trained.
    pub biases: Biases,
    /// Whether all tasks train the same biases.
    pub share: bool,
    /// Whether all tasks together train everything else.
    pub train_base: bool,
}

/// Which biases are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Biases {
    /// All of them.
    #[default]
    All,
    /// Those of the query map and of the first feed-forward map (`query-and-intermediate`).
    #[serde(alias = "query-and-widen")]
    QueryAndIntermediate,
}

impl StrategySettings for BitFit {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.share && self.train_base {
            bail!("`share` and `train_base` together are hard sharing: use `strategy = \"hard\"`, or drop one of them");
        }
        Ok(())
    }

    fn shares(&self) -> Option<bool> {
        Some(self.share || self.train_base)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let base = base(context, self.train_base)?;
        let choice: Choice = match self.biases {
            Biases::All => overlay::biases,
            Biases::QueryAndIntermediate => query_and_intermediate,
        };
        let own = Additions::build(context, self.share, |context, scope| {
            Overlays::insert(scope, "biases", &base, (OverlayMode::Replace, choice), context)
        })?;
        Ok(Box::new(OwnBiases { encoder: context.encoder.clone(), base, own }))
    }
}

/// The two biases of a layer that matter most; none of other parts.
fn query_and_intermediate(layout: &Layout) -> Vec<&Entry> {
    let is_layer = Target::Output.weight(layout).is_ok();
    [Target::Query, Target::Intermediate].iter().filter(|_| is_layer).filter_map(|target| target.bias(layout)).collect()
}

struct OwnBiases {
    encoder: Arc<Family>,
    base: EncoderWeights,
    own: Additions<Overlays>,
}

impl Sharing for OwnBiases {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (own, depth) = (self.own.of(task), self.encoder.layers());
        let view = |part: Part, pass: &mut Pass| own.view(&self.base, part, pass);
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        self.own.represent_each(tasks, |task| self.represent(task, tokens, pass))
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(&self.encoder, |part| self.own.of(task).theta(&self.base, part))
    }

    /// How far the biases have moved, √(mean (b_t − b)²) by the parameter that holds them.
    fn findings(&self) -> Result<Value> {
        let mut moved = serde_json::Map::new();
        for (part, overlay) in self.own.iter().flat_map(Overlays::iter) {
            let change = (overlay.own().tensor().detach() - overlay.below(self.base.part(*part))?)?;
            moved.insert(overlay.name().to_string(), json!(norm(&change)? / (change.elem_count() as f64).sqrt()));
        }
        Ok(json!({ "moved": moved }))
    }
}
