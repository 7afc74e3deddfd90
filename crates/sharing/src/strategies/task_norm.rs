//! Task-conditioned LayerNorm and task embeddings: one encoder that is told which task it works on (CA-MTL, Pilault,
//! Elhattami and Pal 2021; tasknet, Sileo 2023).
//!
//! Every LayerNorm of task t scales by γ + Δγ_t and shifts by β + Δβ_t; a vector e_t is added to the input embeddings,
//! of the first token (`embedding = "first"`) or of every token (`"all"`). All of them start at 0, so that training
//! starts at the pretrained encoder.
//!
//! e_t is added to the position table's rows, the first token's or all: the sum below the first LayerNorm is the same,
//! and all of this is a change of weights. Its pull-back is dθ itself, and the sum of the table's rows.
//!
//! Defaults: both, on the first token, the encoder trained by all tasks (tasknet's `add_cls`, `add_cln`).
//! Deviations: both papers generate Δγ_t and Δβ_t from the task's embedding by a linear map in each LayerNorm; with one
//! fixed embedding a task that is an offset of its own, which is what is learnt here. tasknet also drops the embedding
//! for a tenth of the steps.
//!
//! Parameters: P + K·(4·H·L + 3·W), W the width of the word vectors; without `norms` P + K·W, without an embedding
//! P + K·(4·H·L + 2·W).

use std::ops::Range;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{Device, Result, Tensor};
use mtl_backbone::{
    Encoder, Family, Flat, GradientBlock, Param, ParameterView, Part, Pass, Ports, TaskGradient, Wants,
};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::additions::{Additions, base, merged, norm};
use crate::blocks::overlay::{self, OverlayMode, Overlays, dense, matrix, overwritten, taken};
use crate::{BuildContext, EncoderWeights, RateScales, Sharing, Strategy, StrategySettings, walk};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<TaskNorm>(
    "task-norm",
    "one encoder told of its task by LayerNorm offsets and an embedding",
    "Pilault et al. 2021; Sileo 2023",
    "P + K·(4·H·L + 3·H)",
    true,
)
.with_source(include_str!("task_norm.rs"))
.with_rates(RateScales::PLAIN.added(1.));

/// The `[sharing]` section of `strategy = "task-norm"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskNorm {
    /// Whether each task offsets every LayerNorm's scale and shift.
    pub norms: bool,
    /// Which tokens a task's own vector is added to.
    pub embedding: Embedding,
    /// Whether all tasks together train the encoder.
    pub train_base: bool,
}

/// Which tokens a task's own vector is added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Embedding {
    /// To none: there is no such vector.
    None,
    /// To the first one of each sequence.
    #[default]
    First,
    /// To all of them.
    All,
}

impl Default for TaskNorm {
    fn default() -> Self {
        Self { norms: true, embedding: Embedding::First, train_base: true }
    }
}

impl StrategySettings for TaskNorm {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if !self.norms && self.embedding == Embedding::None {
            bail!("with `norms = false` and `embedding = \"none\"` tasks have nothing of their own: use one of them");
        }
        Ok(())
    }

    fn shares(&self) -> Option<bool> {
        Some(self.train_base)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let base = base(context, self.train_base)?;
        let positions = &context.encoder.layout(Part::Embeddings).entries()[0];
        let (rows, width) = (positions.shape[0], positions.shape[1]);
        let first = context.encoder.shape().first_position;
        let range = match self.embedding {
            Embedding::First => first * width..(first + 1) * width,
            Embedding::None | Embedding::All => 0..rows * width,
        };
        // The position table lies first, so the rows are where they are in the whole part.
        let rows = Rows { range: positions.range.start + range.start..positions.range.start + range.end, width };
        let own = Additions::build(context, false, |context, scope| {
            let norms = if self.norms {
                Overlays::insert(scope, "norms", &base, (OverlayMode::Add, overlay::norms), context)?
            } else {
                Overlays::default()
            };
            let zeros = Tensor::zeros(width, context.dtype(), &Device::Cpu)?;
            let embedding = match self.embedding {
                Embedding::None => None,
                _ => Some(context.insert_tensor(scope, "task_embedding", &zeros, false)?),
            };
            Ok(Own { norms, embedding })
        })?;
        Ok(Box::new(Conditioned { encoder: context.encoder.clone(), base, rows, own }))
    }
}

/// What one task has of its own.
struct Own {
    norms: Overlays,
    embedding: Option<Param>,
}

/// The rows of the position table that the task's vector is added to.
#[derive(Clone)]
struct Rows {
    range: Range<usize>,
    width: usize,
}

struct Conditioned {
    encoder: Arc<Family>,
    base: EncoderWeights,
    rows: Rows,
    own: Additions<Own>,
}

impl Conditioned {
    /// θ of `part` as the task sees it, `[len]`.
    fn theta(&self, own: &Own, part: Part) -> Result<Tensor> {
        let theta = own.norms.theta(&self.base, part)?;
        let (Part::Embeddings, Some(embedding)) = (part, &own.embedding) else { return Ok(theta) };
        let Rows { range, width } = &self.rows;
        overwritten(&theta, std::slice::from_ref(range), |_| {
            let rows = theta.narrow(0, range.start, range.len())?.reshape(((), *width))?;
            rows.broadcast_add(&embedding.tensor().detach())
        })
    }

    fn view(&self, own: &Own, part: Part, pass: &mut Pass) -> Result<ParameterView> {
        let (Part::Embeddings, Some(embedding)) = (part, &own.embedding) else {
            return own.norms.view(&self.base, part, pass);
        };
        let base = self.base.part(part);
        let below = base.trainable().then(|| base.name().to_string());
        let norms = own.norms.of(part).map(|overlay| (overlay.name().to_string(), overlay.ranges().clone()));
        let wanted = [self.rows.range.clone()].into_iter().chain(norms.iter().flat_map(|(_, r)| r.iter().cloned()));
        let wants = if below.is_some() { Wants::All } else { Wants::Ranges(wanted.collect()) };
        let (name, rows) = (embedding.name().to_string(), self.rows.clone());
        pass.materialise_with(
            &self.theta(own, part)?,
            base.layout(),
            wants,
            move |gradient: GradientBlock, row: &mut TaskGradient| {
                let gradient = dense(gradient)?;
                let table = matrix(&gradient, &rows.range, (rows.range.len() / rows.width, rows.width))?;
                row.add(TaskGradient([(name, GradientBlock::Dense(Flat::of(&table.sum(0)?)?))].into()));
                if let Some((name, ranges)) = norms {
                    row.add(TaskGradient([(name, GradientBlock::Dense(taken(&gradient, &ranges)))].into()));
                }
                if let Some(name) = below {
                    row.add(TaskGradient([(name, GradientBlock::Dense(gradient))].into()));
                }
                Ok(())
            },
        )
    }
}

impl Sharing for Conditioned {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (own, depth) = (self.own.of(task), self.encoder.layers());
        let view = |part: Part, pass: &mut Pass| self.view(own, part, pass);
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(&self.encoder, |part| self.theta(self.own.of(task), part))
    }

    /// Size of every offset, the root of its mean square, by the parameter that holds it.
    fn findings(&self) -> Result<Value> {
        let mut sizes = serde_json::Map::new();
        for own in self.own.iter() {
            for param in own.norms.iter().map(|(_, overlay)| overlay.own()).chain(&own.embedding) {
                let size = norm(&param.tensor().detach())? / (param.layout().len() as f64).sqrt();
                sizes.insert(param.name().to_string(), json!(size));
            }
        }
        Ok(json!({ "offset": sizes }))
    }
}
