//! LoRA (Hu et al. 2022): a low-rank change of some of a layer's matrices.
//!
//! W_t = W + s·B_t·A_t with A_t `[rank, inputs]`, B_t `[outputs, rank]` and s = alpha / rank. A starts uniform in
//! ±1/√inputs and B at 0, so that training starts at the pretrained encoder.
//!
//! Here the change is made to the weights, once a pass, and not to the activations: with dW_t = ∂loss/∂W_t the factors'
//! gradients are dB = s·dW·Aᵀ and dA = s·Bᵀ·dW, two small products a matrix. The full dW is therefore computed, for
//! the targeted matrices only: it saves memory (no moments of W) and storage, not time. The dropout in front of A that
//! the authors' code offers does not exist in this form.
//!
//! Defaults: rank 8, alpha 8, query and value matrices, a frozen base, factors private to each task (the paper's
//! RoBERTa setting, one task at a time): then tasks share nothing that is trained. With `share` one pair of factors
//! serves all tasks; with `train_base` the encoder itself is trained by all of them beside the private factors.
//!
//! Parameters: P + K·L·rank·Σ (inputs + outputs) over the targets (K = 1 with `share`); per square target 2·rank·H.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{
    Encoder, Family, Flat, GradientBlock, Layout, Param, ParameterView, Part, Pass, Ports, TaskGradient,
};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::additions::{Additions, base, merged, uniform};
use crate::blocks::delta::{Matrix, changed, changed_slot, check, sizes};
use crate::blocks::target::Target;
use crate::{BuildContext, EncoderWeights, RateScales, Scope, Sharing, Strategy, StrategySettings, walk};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Lora>(
    "lora",
    "a frozen encoder, each task's own low-rank changes of its matrices",
    "Hu et al. 2022",
    "P + K·L·4·r·H, r the rank (8)",
    false,
)
.with_source(include_str!("lora.rs"))
.with_rates(RateScales::PLAIN.added(20.));

/// The `[sharing]` section of `strategy = "lora"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// r, rank of a change; at least 1, at most the smaller side of every target.
    pub rank: usize,
    /// The change is scaled by alpha / rank; above 0.
    pub alpha: f64,
    /// Which matrices are changed.
    pub targets: Vec<Target>,
    /// Whether all tasks train the same factors.
    pub share: bool,
    /// Whether all tasks together train the encoder too.
    pub train_base: bool,
}

impl Default for Lora {
    fn default() -> Self {
        let targets = vec![Target::Query, Target::Value];
        Self { rank: 8, alpha: 8., targets, share: false, train_base: false }
    }
}

impl StrategySettings for Lora {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        check(self.rank, self.alpha, &self.targets)
    }

    fn shares(&self) -> Option<bool> {
        Some(self.share || self.train_base)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let matrices: Arc<[Matrix]> = Matrix::of(context, &self.targets, self.rank)?.into();
        let base = base(context, self.train_base)?;
        let scale = self.alpha / self.rank as f64;
        let layers = base.layers();
        let factors = Additions::build(context, self.share, |context, scope| {
            (0..layers).map(|index| insert(context, scope, index, &matrices, self.rank)).collect::<Result<Vec<Param>>>()
        })?;
        let low_rank = LowRank { encoder: context.encoder.clone(), base, matrices, rank: self.rank, scale, factors };
        Ok(Box::new(low_rank))
    }
}

/// Puts the factors of layer `index` into the context's parameters: for each matrix A, then B.
fn insert(context: &mut BuildContext, scope: &Scope, index: usize, matrices: &[Matrix], rank: usize) -> Result<Param> {
    let (mut tensors, mut values) = (Vec::new(), Vec::new());
    for matrix in matrices {
        let name = format!("{}.lora", matrix.name(index));
        let key = context.key.named(&format!("{scope}/{name}"));
        tensors.push((format!("{name}.a"), vec![rank, matrix.inputs], true));
        tensors.push((format!("{name}.b"), vec![matrix.outputs, rank], true));
        values.push(uniform(key, &[rank * matrix.inputs], 1. / (matrix.inputs as f64).sqrt())?);
        values.push(Tensor::zeros(matrix.outputs * rank, DType::F32, &Device::Cpu)?);
    }
    let values = Flat::of(&Tensor::cat(&values, 0)?)?;
    context.insert(scope, &format!("layer.{index}.lora"), &Layout::new(tensors), &values)
}

struct LowRank {
    encoder: Arc<Family>,
    base: EncoderWeights,
    matrices: Arc<[Matrix]>,
    rank: usize,
    scale: f64,
    /// By layer.
    factors: Additions<Vec<Param>>,
}

/// A and B of every matrix, from a layer's factors `[len]`.
fn factors(theta: &Tensor, matrices: &[Matrix], rank: usize) -> Result<Vec<(Tensor, Tensor)>> {
    let mut at = 0;
    let mut next = |rows: usize, columns: usize| {
        at += rows * columns;
        theta.narrow(0, at - rows * columns, rows * columns)?.reshape((rows, columns))
    };
    matrices.iter().map(|matrix| Ok((next(rank, matrix.inputs)?, next(matrix.outputs, rank)?))).collect()
}

impl LowRank {
    /// s·B·A of every matrix of layer `index`.
    fn deltas(&self, task: TaskId, index: usize) -> Result<Vec<Tensor>> {
        let theta = self.factors.of(task)[index].tensor().detach();
        let factors = factors(&theta, &self.matrices, self.rank)?;
        factors.iter().map(|(a, b)| b.matmul(a)? * self.scale).collect()
    }

    fn view(&self, task: TaskId, part: Part, pass: &mut Pass) -> Result<ParameterView> {
        let Part::Layer(index) = part else { return pass.view(self.base.part(part)) };
        let own = &self.factors.of(task)[index];
        let (theta, name) = (own.tensor().detach(), own.name().to_string());
        let (matrices, rank, scale) = (self.matrices.clone(), self.rank, self.scale);
        let deltas = self.deltas(task, index)?;
        changed_slot(self.base.part(part), &self.matrices, &deltas, pass, move |gradient, row| {
            let theta = theta.to_device(&Device::Cpu)?;
            let mut pieces = Vec::new();
            for (matrix, (a, b)) in matrices.iter().zip(factors(&theta, &matrices, rank)?) {
                let gradient = (matrix.gradient(gradient)? * scale)?;
                pieces.push(b.t()?.matmul(&gradient)?.flatten_all()?);
                pieces.push(gradient.matmul(&a.t()?)?.flatten_all()?);
            }
            row.add(TaskGradient([(name, GradientBlock::Dense(Flat::of(&Tensor::cat(&pieces, 0)?)?))].into()));
            Ok(())
        })
    }
}

impl Sharing for LowRank {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let view = |part: Part, pass: &mut Pass| self.view(task, part, pass);
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        self.factors.represent_each(tasks, |task| self.represent(task, tokens, pass))
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(&self.encoder, |part| match part {
            Part::Layer(index) => changed(self.base.part(part), &self.matrices, &self.deltas(task, index)?),
            _ => Ok(self.base.part(part).tensor().clone()),
        })
    }

    /// How large the changes are, ‖s·B·A‖ / ‖W‖, by the prefix of the factors' names and the matrix.
    fn findings(&self) -> Result<Value> {
        let mut owners = serde_json::Map::new();
        for (at, layers) in self.factors.iter().enumerate() {
            let mut found = serde_json::Map::new();
            for index in 0..layers.len() {
                let deltas = self.deltas(TaskId(at), index)?;
                found.extend(sizes(self.base.part(Part::Layer(index)), index, &self.matrices, &deltas)?);
            }
            if let Some(first) = layers.first() {
                owners.insert(first.prefix().to_string(), Value::Object(found));
            }
        }
        Ok(json!({ "relative_change": owners }))
    }
}
