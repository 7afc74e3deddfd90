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

use std::ops::Range;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Layout, Param, Part, Pass, Ports, Row, Segment, Slot, Wants};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::additions::{Additions, base, merged, norm, uniform};
use crate::overlay::{dense, matrix, overwritten};
use crate::target::{Target, in_order};
use crate::{Sharing, Site, Strategy, Weights, walk};

/// The `[sharing]` section of `strategy = "lora"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lora {
    /// Rank of a change; at least 1, at most the smaller side of every target.
    pub(crate) rank: usize,
    /// The change is scaled by alpha / rank; above 0.
    pub(crate) alpha: f64,
    /// Which matrices are changed.
    pub(crate) targets: Vec<Target>,
    /// Whether all tasks train the same factors.
    pub(crate) share: bool,
    /// Whether all tasks together train the encoder too.
    pub(crate) train_base: bool,
}

impl Default for Lora {
    fn default() -> Self {
        let targets = vec![Target::Query, Target::Value];
        Self { rank: 8, alpha: 8., targets, share: false, train_base: false }
    }
}

impl Strategy for Lora {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        check(self.rank, self.alpha, &self.targets)
    }

    fn shares(&self) -> Option<bool> {
        Some(self.share || self.train_base)
    }

    fn build(self, site: &mut Site) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(site.tasks.len())?;
        let matrices: Arc<[Matrix]> = Matrix::of(site, &self.targets, self.rank)?.into();
        let base = base(site, self.train_base)?;
        let scale = self.alpha / self.rank as f64;
        let layers = base.layers();
        let factors = Additions::build(site, self.share, |site, owner| {
            (0..layers).map(|index| insert(site, owner, index, &matrices, self.rank)).collect::<Result<Vec<Param>>>()
        })?;
        let low_rank = LowRank { encoder: site.encoder.clone(), base, matrices, rank: self.rank, scale, factors };
        Ok(Box::new(low_rank))
    }
}

/// What is wrong with the settings of low-rank changes.
pub(crate) fn check(rank: usize, alpha: f64, targets: &[Target]) -> anyhow::Result<()> {
    if rank == 0 {
        bail!("`rank` is 0: no change at all; 8 is usual");
    }
    if !(alpha.is_finite() && alpha > 0.) {
        bail!("`alpha` is {alpha}; it must be above 0, the rank being usual");
    }
    in_order(targets).map(|_| ())
}

/// A matrix that is changed, at the same place in every layer.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    pub(crate) target: Target,
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    /// Where it lies in the layer's vector.
    pub(crate) range: Range<usize>,
}

impl Matrix {
    /// Those that `targets` name, in the order in which they lie.
    ///
    /// # Errors
    /// If the encoder has none of that kind, or `rank` is above the rank of one of them.
    pub(crate) fn of(site: &Site, targets: &[Target], rank: usize) -> anyhow::Result<Vec<Self>> {
        if site.encoder.layers() == 0 {
            bail!("the encoder has no layer whose matrices could be changed");
        }
        let layer = site.encoder.layout(Part::Layer(0));
        let matrix = |target: Target| {
            let entry = target.weight(layer)?;
            let (outputs, inputs) = (entry.shape[0], entry.shape[1]);
            if rank > outputs.min(inputs) {
                bail!("`rank` is {rank}, but `{}` is {outputs} × {inputs}: take less", target.name());
            }
            Ok(Self { target, outputs, inputs, range: entry.range.clone() })
        };
        in_order(targets)?.into_iter().map(matrix).collect()
    }

    /// As layer `index` calls it.
    pub(crate) fn name(&self, index: usize) -> String {
        format!("layer.{index}.{}", self.target.name())
    }

    /// Its values in a layer's vector `theta`, `[outputs, inputs]`.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn values(&self, theta: &Tensor) -> Result<Tensor> {
        theta.narrow(0, self.range.start, self.range.len())?.reshape((self.outputs, self.inputs))
    }

    /// Its part of a layer's gradient, `[outputs, inputs]` on the host.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn gradient(&self, gradient: &Flat) -> Result<Tensor> {
        matrix(gradient, &self.range, (self.outputs, self.inputs))
    }
}

/// The slot of a layer whose `matrices` are changed by `deltas`, `[outputs, inputs]` each; `pull_back` carries their
/// gradients on, and the base's own goes to the base where it is trained.
///
/// # Errors
/// Those of candle.
pub(crate) fn changed_slot(
    layer: &Param,
    matrices: &[Matrix],
    deltas: &[Tensor],
    pass: &mut Pass,
    pull_back: impl FnOnce(&Flat, &mut Row) -> Result<()> + Send + 'static,
) -> Result<Slot> {
    let theta = changed(layer, matrices, deltas)?;
    let ranges: Vec<Range<usize>> = matrices.iter().map(|matrix| matrix.range.clone()).collect();
    let below = layer.trainable().then(|| layer.name().to_string());
    let wants = if below.is_some() { Wants::All } else { Wants::Ranges(ranges.into()) };
    pass.materialise_with(&theta, layer.layout(), wants, move |gradient: Segment, row: &mut Row| {
        let gradient = dense(gradient)?;
        pull_back(&gradient, row)?;
        if let Some(name) = below {
            row.add(Row([(name, Segment::Dense(gradient))].into()));
        }
        Ok(())
    })
}

/// θ of a layer with `deltas` added to its `matrices`, `[len]`.
///
/// # Errors
/// Those of candle.
pub(crate) fn changed(layer: &Param, matrices: &[Matrix], deltas: &[Tensor]) -> Result<Tensor> {
    let theta = layer.tensor().detach();
    let ranges: Vec<Range<usize>> = matrices.iter().map(|matrix| matrix.range.clone()).collect();
    overwritten(&theta, &ranges, |at| matrices[at].values(&theta)? + &deltas[at])
}

/// Sizes of the changes, ‖ΔW‖ / ‖W‖ by the matrix's name.
///
/// # Errors
/// Those of candle.
pub(crate) fn sizes(
    layer: &Param,
    index: usize,
    matrices: &[Matrix],
    deltas: &[Tensor],
) -> Result<Vec<(String, Value)>> {
    let theta = layer.tensor().detach();
    let size = |matrix: &Matrix, delta: &Tensor| {
        Ok((matrix.name(index), json!(norm(delta)? / norm(&matrix.values(&theta)?)?.max(f64::MIN_POSITIVE))))
    };
    matrices.iter().zip(deltas).map(|(matrix, delta)| size(matrix, delta)).collect()
}

/// Puts the factors of layer `index` into the site's parameters: for each matrix A, then B.
fn insert(site: &mut Site, owner: &str, index: usize, matrices: &[Matrix], rank: usize) -> Result<Param> {
    let (mut tensors, mut values) = (Vec::new(), Vec::new());
    for matrix in matrices {
        let name = format!("{}.lora", matrix.name(index));
        let key = site.key.named(&format!("{owner}/{name}"));
        tensors.push((format!("{name}.a"), vec![rank, matrix.inputs], true));
        tensors.push((format!("{name}.b"), vec![matrix.outputs, rank], true));
        values.push(uniform(key, &[rank * matrix.inputs], 1. / (matrix.inputs as f64).sqrt())?);
        values.push(Tensor::zeros(matrix.outputs * rank, DType::F32, &Device::Cpu)?);
    }
    let values = Flat::of(&Tensor::cat(&values, 0)?)?;
    site.params.insert(&format!("{owner}/layer.{index}.lora"), &Layout::new(tensors), &values)
}

struct LowRank {
    encoder: Arc<Family>,
    base: Weights,
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

    fn slot(&self, task: TaskId, part: Part, pass: &mut Pass) -> Result<Slot> {
        let Part::Layer(index) = part else { return pass.slot(self.base.part(part)) };
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
            row.add(Row([(name, Segment::Dense(Flat::of(&Tensor::cat(&pieces, 0)?)?))].into()));
            Ok(())
        })
    }
}

impl Sharing for LowRank {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let slot = |part: Part, pass: &mut Pass| self.slot(task, part, pass);
        Ok(walk(&self.encoder, tokens, depth, pass, slot, |_| Ports::default())?.swap_remove(depth))
    }

    fn reach(&self, task: TaskId) -> Vec<String> {
        let factors = self.factors.of(task).iter().map(|param| param.name().to_string());
        self.base.names().into_iter().chain(factors).collect()
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(&self.encoder, |part| match part {
            Part::Layer(index) => changed(self.base.part(part), &self.matrices, &self.deltas(task, index)?),
            _ => Ok(self.base.part(part).tensor().clone()),
        })
    }

    /// How large the changes are, ‖s·B·A‖ / ‖W‖, by the owner of the factors and the matrix.
    fn findings(&self) -> Result<Value> {
        let mut owners = serde_json::Map::new();
        for (at, layers) in self.factors.iter().enumerate() {
            let mut found = serde_json::Map::new();
            for index in 0..layers.len() {
                let deltas = self.deltas(TaskId(at), index)?;
                found.extend(sizes(self.base.part(Part::Layer(index)), index, &self.matrices, &deltas)?);
            }
            if let Some(first) = layers.first() {
                owners.insert(first.owner().to_string(), Value::Object(found));
            }
        }
        Ok(json!({ "relative_change": owners }))
    }
}
