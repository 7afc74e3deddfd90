//! Bottleneck adapters: small two-layer networks between the blocks of a transformer layer.
//!
//! A(x) = U·σ(D·x + d) + u with D `[width, hidden]` and U `[hidden, width]`; D ~ N(0, 0.01²), all else 0, so that
//! training starts at the pretrained encoder. With y the output of the attention or feed-forward block and r what it
//! is added to:
//!
//! - `placement = "houlsby"` (Houlsby et al. 2019): LN(y + A(y) + r), one adapter after each of the two blocks, σ the
//!   GELU; each task has LayerNorms of its own, those below the first layer included.
//! - `placement = "pfeiffer"` (Pfeiffer et al. 2020, 2021): LN(y + A(LN(y + r)) + r), after the feed-forward block
//!   only, σ the ReLU; LayerNorms stay the base's.
//!
//! Defaults: Houlsby's, width 64, a frozen base, everything private to each task. With `share` all tasks train the same
//! adapters (and, of a frozen base, the same LayerNorms).
//!
//! Deviations: Houlsby's adapters read y before the block's output bias, which d absorbs: the same functions, written
//! otherwise. A layer's dropout falls on y + A(y) and not on y before A reads it; in Pfeiffer's placement the two sums
//! draw their dropout independently.
//!
//! Parameters: P + K·L·n·(2·H·m + m + H) with m the width and n = 2 (Houlsby) or 1 (Pfeiffer); own LayerNorms add
//! K·(4·H·L + 2·W), W the width of the word vectors. K = 1 with `share`.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Norm, ParameterView, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::additions::{Additions, Map, base};
use crate::blocks::overlay::{self, OverlayMode, Overlays};
use crate::{BuildContext, EncoderWeights, RateScales, Sharing, Strategy, StrategySettings, walk};

/// Deviation of the initial weights of the maps into the bottleneck.
const DEVIATION: f64 = 0.01;

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Adapter>(
    "adapter",
    "a frozen encoder, each task's own bottlenecks between its blocks",
    "Houlsby et al. 2019; Pfeiffer et al. 2021",
    "P + K·(2·L·(2·H·m + m + H) + 4·H·L + 2·H), m the width (64)",
    false,
)
.with_source(include_str!("adapter.rs"))
.with_rates(RateScales::PLAIN.added(20.));

/// The `[sharing]` section of `strategy = "adapter"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adapter {
    /// Where adapters stand.
    pub placement: Placement,
    /// Width of the bottleneck; at least 1.
    pub width: usize,
    /// Whose LayerNorms are trained.
    pub norms: Norms,
    /// Whether all tasks train the same adapters.
    pub share: bool,
    /// Whether all tasks together train the encoder too.
    pub train_base: bool,
}

/// Where adapters stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Behind both blocks of a layer.
    #[default]
    Houlsby,
    /// Behind the feed-forward block, reading the normalised sum.
    Pfeiffer,
}

/// Whose LayerNorms are trained with the adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norms {
    /// As the placement's paper has it.
    #[default]
    Paper,
    /// Those of whoever owns the adapters.
    Own,
    /// The base's, as they are or as it trains them.
    Base,
}

impl Default for Adapter {
    fn default() -> Self {
        let (placement, norms) = (Placement::default(), Norms::default());
        Self { placement, width: 64, norms, share: false, train_base: false }
    }
}

impl Adapter {
    fn own_norms(&self) -> bool {
        match self.norms {
            Norms::Own => true,
            Norms::Base => false,
            // Shared LayerNorms over a base that all tasks train are the base's own.
            Norms::Paper => self.placement == Placement::Houlsby && !(self.share && self.train_base),
        }
    }
}

impl StrategySettings for Adapter {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.width == 0 {
            bail!("`width` is 0: no adapter at all; 64 is usual");
        }
        if self.norms == Norms::Own && self.share && self.train_base {
            bail!("`norms = \"own\"` with `share` and `train_base`: LayerNorms that all tasks train are the base's");
        }
        Ok(())
    }

    fn shares(&self) -> Option<bool> {
        Some(self.share || self.train_base)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let base = base(context, self.train_base)?;
        let (layers, hidden) = (base.layers(), context.encoder.hidden());
        let own = Additions::build(context, self.share, |context, scope| {
            let norms = if self.own_norms() {
                Overlays::insert(scope, "norms", &base, (OverlayMode::Replace, overlay::norms), context)?
            } else {
                Overlays::default()
            };
            let mut bottleneck = |block: &str, index: usize| {
                let mut map = |name: &str, sizes: (usize, usize), deviation: f64| {
                    Map::insert(context, scope, &format!("layer.{index}.{block}.{name}"), sizes, deviation)
                };
                let (down, up) = (map("down", (self.width, hidden), DEVIATION)?, map("up", (hidden, self.width), 0.)?);
                Ok(Bottleneck { down, up, relu: self.placement == Placement::Pfeiffer })
            };
            let houlsby = self.placement == Placement::Houlsby;
            let attention = (0..if houlsby { layers } else { 0 }).map(|index| bottleneck("attention_adapter", index));
            let attention = attention.collect::<Result<_>>()?;
            let output = (0..layers).map(|index| bottleneck("output_adapter", index)).collect::<Result<_>>()?;
            Ok(Own { norms, attention, output })
        })?;
        Ok(Box::new(Adapted { encoder: context.encoder.clone(), base, placement: self.placement, own }))
    }
}

/// A: down, a nonlinearity, up.
struct Bottleneck {
    down: Map,
    up: Map,
    relu: bool,
}

impl Bottleneck {
    /// A(x), `[tokens, hidden]` from the same.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let narrow = self.down.apply(x)?;
        self.up.apply(&if self.relu { narrow.relu()? } else { narrow.gelu_erf()? })
    }
}

/// What one task has of its own, or all tasks together.
struct Own {
    norms: Overlays,
    /// Behind the attention blocks, by layer; none in Pfeiffer's placement.
    attention: Vec<Bottleneck>,
    /// Behind the feed-forward blocks, by layer.
    output: Vec<Bottleneck>,
}

struct Adapted {
    encoder: Arc<Family>,
    base: EncoderWeights,
    placement: Placement,
    own: Additions<Own>,
}

impl Adapted {
    fn houlsby(
        &self,
        own: &Own,
        tokens: &Packed,
        pass: &mut Pass,
        view: impl Fn(Part, &mut Pass) -> Result<ParameterView>,
    ) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let behind = |adapter| move |y: &Tensor| y + Bottleneck::apply(adapter, y)?;
        let attention: Vec<_> = own.attention.iter().map(behind).collect();
        let output: Vec<_> = own.output.iter().map(behind).collect();
        let ports = |index: usize| Ports {
            after_attention: Some(&attention[index]),
            after_feed_forward: Some(&output[index]),
            ..Ports::default()
        };
        Ok(walk(&self.encoder, tokens, depth, pass, view, ports)?.swap_remove(depth))
    }

    /// The layer is taken apart, because its adapter reads the sum after the feed-forward block.
    fn pfeiffer(
        &self,
        own: &Own,
        tokens: &Packed,
        pass: &mut Pass,
        view: impl Fn(Part, &mut Pass) -> Result<ParameterView>,
    ) -> Result<Tensor> {
        let encoder = &self.encoder;
        let words = encoder.words(&view(Part::Words, pass)?, tokens, pass)?;
        let mut x = encoder.embed(&view(Part::Embeddings, pass)?, &words, tokens, pass)?;
        for (index, adapter) in own.output.iter().enumerate() {
            let view = view(Part::Layer(index), pass)?;
            let attention_output = encoder.attend(&view, &x, tokens, None, pass)?;
            let middle = encoder.add_norm(Norm::Attention, &view, &attention_output, &x, pass)?;
            let y = encoder.feed_forward(&view, &middle, pass)?;
            let sum = encoder.add_norm(Norm::Output, &view, &y, &middle, pass)?;
            x = encoder.add_norm(Norm::Output, &view, &(&y + adapter.apply(&sum)?)?, &middle, pass)?;
        }
        Ok(x)
    }
}

impl Sharing for Adapted {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let own = self.own.of(task);
        let view = |part: Part, pass: &mut Pass| own.norms.view(&self.base, part, pass);
        match self.placement {
            Placement::Houlsby => self.houlsby(own, tokens, pass, view),
            Placement::Pfeiffer => self.pfeiffer(own, tokens, pass, view),
        }
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        self.own.represent_each(tasks, |task| self.represent(task, tokens, pass))
    }
}
