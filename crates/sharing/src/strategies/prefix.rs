//! Prefix tuning (Li and Liang 2021), for encoders as in P-tuning v2 (Liu et al. 2022): learnt keys and values that
//! every token of a text may attend to, in every layer.
//!
//! Attention of task t in layer l is softmax(Q·[P_K; K]ᵀ/√d)·[P_V; V] with P_K and P_V `[length, hidden]` the task's.
//! Either they are parameters themselves, N(0, 0.02²), or they come out of a network that all layers share,
//! P = U·tanh(D·E + d) + u with E `[length, hidden]` and `reparameterise` the width between D and U (Li and Liang,
//! for whom training is unstable otherwise).
//!
//! Defaults: length 10, parameters themselves (P-tuning v2, which finds that the network helps some tasks and harms
//! others), a frozen base, a prefix for each task. With `share` all tasks train the same prefix.
//! Deviations: none of the weights start at 0, because a prefix has no neutral value: even with zero keys and values
//! it takes a share of the attention. Training starts beside the pretrained encoder, not at it.
//! A prefix runs through the reference path of the attention on every device.
//!
//! Parameters: P + K·2·L·n·H with n the length; with a network of width m P + K·(n·H + m·(H + 1) + 2·L·H·(m + 1)).
//! K = 1 with `share`.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Part, Pass, Ports, Prefix as Keys};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::additions::{Additions, Map, base, normal};
use crate::{BuildContext, EncoderWeights, RateScales, Sharing, Strategy, StrategySettings, walk};

/// Deviation of the initial values.
const DEVIATION: f64 = 0.02;

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Prefix>(
    "prefix",
    "a frozen encoder, each task's own keys and values in front of every text",
    "Li and Liang 2021; Liu et al. 2022",
    "P + 2·K·L·n·H, n the length (10)",
    false,
)
.with_source(include_str!("prefix.rs"))
.with_rates(RateScales::PLAIN.added(100.));

/// The `[sharing]` section of `strategy = "prefix"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prefix {
    /// Number of keys and values in front of every text; at least 1.
    pub length: usize,
    /// Width of the network that prefixes come out of; 0 for none.
    pub reparameterise: usize,
    /// Whether all tasks train the same prefix.
    pub share: bool,
    /// Whether all tasks together train the encoder too.
    pub train_base: bool,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { length: 10, reparameterise: 0, share: false, train_base: false }
    }
}

impl StrategySettings for Prefix {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.length == 0 {
            bail!("`length` is 0: no prefix at all; 10 is usual");
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
            let mut table = |name: String, shape: &[usize]| {
                let values = normal(context.key.named(&format!("{scope}/{name}")), shape, DEVIATION)?;
                context.insert_tensor(scope, &name, &values, true)
            };
            if self.reparameterise == 0 {
                let layer = |index: usize| table(format!("layer.{index}.prefix"), &[2, self.length, hidden]);
                return Ok(Own { tables: (0..layers).map(layer).collect::<Result<_>>()?, network: None });
            }
            let tables = vec![table("prefix".into(), &[self.length, hidden])?];
            let down = Map::insert(context, scope, "prefix.down", (self.reparameterise, hidden), DEVIATION)?;
            let up = Map::insert(context, scope, "prefix.up", (layers * 2 * hidden, self.reparameterise), DEVIATION)?;
            Ok(Own { tables, network: Some((down, up)) })
        })?;
        Ok(Box::new(Prefixed { encoder: context.encoder.clone(), base, own }))
    }
}

/// What a prefix is made of.
struct Own {
    /// Keys and values of each layer, `[2, length, hidden]`; with a network the one table `[length, hidden]`.
    tables: Vec<Param>,
    /// Down and up: makes every layer's keys and values of the one table.
    network: Option<(Map, Map)>,
}

impl Own {
    /// The keys and values of every one of `layers` layers.
    fn prefixes(&self, layers: usize) -> Result<Vec<Keys>> {
        let Some((down, up)) = &self.network else {
            let layer = |table: &Param| Ok(Keys { keys: table.tensor().get(0)?, values: table.tensor().get(1)? });
            return self.tables.iter().map(layer).collect();
        };
        let all = up.apply(&down.apply(self.tables[0].tensor())?.tanh()?)?;
        let layer = |pair: &[Tensor]| Ok(Keys { keys: pair[0].contiguous()?, values: pair[1].contiguous()? });
        all.chunk(2 * layers, 1)?.chunks(2).map(layer).collect()
    }
}

struct Prefixed {
    encoder: Arc<Family>,
    base: EncoderWeights,
    own: Additions<Own>,
}

impl Sharing for Prefixed {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let prefixes = self.own.of(task).prefixes(depth)?;
        let view = |part: Part, pass: &mut Pass| pass.view(self.base.part(part));
        let ports = |index: usize| Ports { prefix: Some(&prefixes[index]), ..Ports::default() };
        Ok(walk(&self.encoder, tokens, depth, pass, view, ports)?.swap_remove(depth))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        self.own.represent_each(tasks, |task| self.represent(task, tokens, pass))
    }
}
