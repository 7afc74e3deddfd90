//! The tensor trace norm of the tasks' deltas (Yang & Hospedales 2017), smoothed.
//!
//! Every tensor W of the encoder has K deltas Δₜ = Wₜ − W₀, stacked into a tensor `[rows, columns, K]`. The penalty of
//! each of its unfoldings M is tr(MᵀM + ε²)^{1/2}, whose gradient M·(MᵀM + ε²)^{-1/2} is 0, not infinite, at the
//! pretrained point:
//!
//! - `laf`, last axis flattened: M = [vec Δ₁ … vec Δ_K]. One K × K eigenproblem, exact in every step; two passes over
//!   the encoders, no more. The default, and what vectors and the word table always have;
//! - `tucker`: that, `[rows, columns·K]` and `[columns, rows·K]`;
//! - `tt`, tensor train: that, and `[rows, columns·K]`.
//!
//! The unfoldings of the last two need the inverse root Z of a rows × rows (columns × columns) matrix: about 25 rounds
//! of three products, 150·d³ flops, for a d of 1536 half a Tflop. Hence it is made anew only `every` steps, and
//! between them the penalty is ½·(tr((MMᵀ + ε²)Z) + tr Z⁻¹), which touches the trace norm where Z was made and lies
//! above it elsewhere (the majorisation of iteratively reweighted least squares, Mohan & Fazel 2012). Value and
//! gradient are those of this bound. The paper takes a subgradient UVᵀ by SVD of the weights, not of deltas.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Entry, Param};
use serde::{Deserialize, Serialize};

use super::newton_schulz::inverse_root;
use crate::blocks::penalty::penalty_with_gradient;
use crate::blocks::singular_values::eigenvalues;
use crate::blocks::values::{copied, on_host};

/// Which matrices are made of the stacked deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unfolding {
    /// One matrix with a column for each task's delta.
    Laf,
    /// That, and the deltas side by side by rows and by columns.
    Tucker,
    /// That, and the deltas side by side by rows.
    Tt,
}

/// Which side of a delta's matrix an unfolding keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Rows,
    Columns,
}

pub(super) struct TraceNorm {
    epsilon: f64,
    roots: Vec<Root>,
}

/// The inverse root of one unfolding's smoothed Gram matrix, as of when it was made.
struct Root {
    part: usize,
    entry: Entry,
    side: Side,
    /// (MMᵀ + ε²)^{-1/2}, `[d, d]` in f64 on the host.
    inverse: Tensor,
    /// tr(MMᵀ + ε²)^{1/2}.
    norm: f64,
}

impl TraceNorm {
    pub(super) fn new(unfolding: Unfolding, epsilon: f64, parts: &[Vec<Param>], start: &[Tensor]) -> Result<Self> {
        let sides: &[Side] = match unfolding {
            Unfolding::Laf => &[],
            Unfolding::Tucker => &[Side::Rows, Side::Columns],
            Unfolding::Tt => &[Side::Rows],
        };
        let mut roots = Vec::new();
        for (part, params) in parts.iter().enumerate().filter(|(_, params)| params[0].layout().row_width().is_none()) {
            for entry in params[0].layout().entries().iter().filter(|entry| entry.shape.len() == 2) {
                for &side in sides {
                    let inverse = Tensor::zeros((1, 1), DType::F64, &Device::Cpu)?;
                    roots.push(Root { part, entry: entry.clone(), side, inverse, norm: 0. });
                }
            }
        }
        let mut trace_norm = Self { epsilon, roots };
        trace_norm.refresh(parts, start)?;
        Ok(trace_norm)
    }

    /// Makes every inverse root anew.
    pub(super) fn refresh(&mut self, parts: &[Vec<Param>], start: &[Tensor]) -> Result<()> {
        for root in &mut self.roots {
            let deltas = deltas(&root.entry, &parts[root.part], &start[root.part])?;
            let mut gram: Option<Tensor> = None;
            for delta in deltas {
                let delta = on_host(&root.oriented(&delta)?)?;
                let square = delta.matmul(&delta.t()?)?;
                gram = Some(match gram {
                    Some(gram) => (gram + square)?,
                    None => square,
                });
            }
            let Some(gram) = gram else { continue };
            let one = Tensor::eye(gram.dim(0)?, DType::F64, &Device::Cpu)?;
            let smooth = (gram + (one * self.epsilon.powi(2))?)?;
            root.inverse = inverse_root(&smooth)?;
            root.norm = (&smooth * &root.inverse)?.sum_all()?.to_scalar()?;
        }
        Ok(())
    }

    /// `strength` times the sum of the trace norms, with its gradient.
    pub(super) fn penalty(&self, strength: f64, parts: &[Vec<Param>], start: &[Tensor]) -> Result<Option<Tensor>> {
        let (mut price, mut gradients) = (0., Vec::new());
        for (at, params) in parts.iter().enumerate() {
            let mut pieces: Vec<Vec<Tensor>> = vec![Vec::new(); params.len()];
            for entry in params[0].layout().entries() {
                let deltas = deltas(entry, params, &start[at])?;
                let (value, mut slopes) = self.last_axis(&deltas)?;
                price += strength * value;
                for root in self.roots.iter().filter(|root| root.part == at && root.entry.range == entry.range) {
                    price += strength * root.add_to(&mut slopes, &deltas, self.epsilon)?;
                }
                for (pieces, slope) in pieces.iter_mut().zip(slopes) {
                    pieces.push((slope.flatten_all()? * strength)?);
                }
            }
            for (param, pieces) in params.iter().zip(pieces) {
                gradients.push((param.tensor(), Tensor::cat(&pieces, 0)?));
            }
        }
        penalty_with_gradient(price, gradients)
    }

    /// tr(MᵀM + ε²)^{1/2} of M = [vec Δ₁ … vec Δ_K], and its derivative by each Δ.
    fn last_axis(&self, deltas: &[Tensor]) -> Result<(f64, Vec<Tensor>)> {
        let count = deltas.len();
        let flat: Vec<Tensor> = deltas.iter().map(Tensor::flatten_all).collect::<Result<_>>()?;
        let stacked = Tensor::stack(&flat, 0)?;
        let gram = on_host(&stacked.matmul(&stacked.t()?)?)?.flatten_all()?.to_vec1::<f64>()?;
        let (values, vectors) = eigenvalues(&gram, count);
        // Rounding may leave an eigenvalue of a singular Gram matrix just below zero.
        let roots: Vec<f64> = values.iter().map(|value| (value.max(0.) + self.epsilon.powi(2)).sqrt()).collect();
        let of = |i: usize, j: usize| -> f64 {
            (0..count).map(|k| vectors[k * count + i] * vectors[k * count + j] / roots[k]).sum()
        };
        let inverse: Vec<f64> = (0..count * count).map(|at| of(at / count, at % count)).collect();
        let inverse = Tensor::from_vec(inverse, (count, count), &Device::Cpu)?;
        let inverse = inverse.to_dtype(stacked.dtype())?.to_device(stacked.device())?;
        let slopes = inverse.matmul(&stacked)?;
        let slopes = (0..count).map(|task| slopes.get(task)?.reshape(deltas[task].shape())).collect::<Result<_>>()?;
        Ok((roots.iter().sum(), slopes))
    }

    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for root in &self.roots {
            state.insert(root.name("inverse"), copied(&root.inverse)?);
            state.insert(root.name("norm"), Tensor::new(root.norm, &Device::Cpu)?);
        }
        Ok(state)
    }

    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for root in &mut self.roots {
            let (inverse, norm) = (root.name("inverse"), root.name("norm"));
            let saved = |name: &str, dims: &[usize]| match state.get(name) {
                Some(tensor) if tensor.dims() == dims => on_host(tensor),
                _ => candle_core::bail!("the saved state has no `{name}` of shape {dims:?}"),
            };
            root.inverse = saved(&inverse, root.inverse.dims())?;
            root.norm = saved(&norm, &[])?.to_scalar()?;
        }
        Ok(())
    }
}

impl Root {
    fn name(&self, what: &str) -> String {
        let side = if self.side == Side::Rows { "rows" } else { "columns" };
        format!("trace-norm/{}.{side}.{what}", self.entry.name)
    }

    /// The delta with the kept side first.
    fn oriented(&self, delta: &Tensor) -> Result<Tensor> {
        match self.side {
            Side::Rows => Ok(delta.clone()),
            Side::Columns => delta.t()?.contiguous(),
        }
    }

    /// The bound's value; adds its derivative Z·Δₜ to the slopes.
    fn add_to(&self, slopes: &mut [Tensor], deltas: &[Tensor], epsilon: f64) -> Result<f64> {
        let like = &deltas[0];
        let inverse = self.inverse.to_dtype(like.dtype())?.to_device(like.device())?;
        let trace: f64 =
            (0..self.inverse.dim(0)?).map(|i| self.inverse.get(i)?.get(i)?.to_scalar::<f64>()).sum::<Result<f64>>()?;
        let mut value = epsilon.powi(2) * trace + self.norm;
        for (slope, delta) in slopes.iter_mut().zip(deltas) {
            let own = match self.side {
                Side::Rows => inverse.matmul(delta)?,
                Side::Columns => delta.matmul(&inverse)?,
            };
            value += on_host(&(&own * delta)?.sum_all()?)?.to_scalar::<f64>()?;
            *slope = (&*slope + own)?;
        }
        Ok(value / 2.)
    }
}

/// Every task's distance from the pretrained values of one tensor, in the tensor's shape.
fn deltas(entry: &Entry, params: &[Param], start: &Tensor) -> Result<Vec<Tensor>> {
    let of = |tensor: &Tensor| tensor.narrow(0, entry.range.start, entry.range.len())?.reshape(entry.shape.as_slice());
    let start = of(start)?;
    params.iter().map(|param| of(&param.tensor().detach())? - &start).collect()
}
