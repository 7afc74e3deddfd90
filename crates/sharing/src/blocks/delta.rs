//! Changes of some of a layer's matrices, θ + Δ, as the low-rank strategies make them: every pass writes θ anew with
//! Δ added where the matrices lie, and each matrix's gradient comes back as a matrix.

use std::ops::Range;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Flat, GradientBlock, Param, ParameterView, Part, Pass, TaskGradient, Wants};
use serde_json::{Value, json};

use crate::BuildContext;
use crate::blocks::additions::norm;
use crate::blocks::overlay::{dense, matrix, overwritten};
use crate::blocks::target::{Target, in_order};

/// Refuses settings that make no low-rank change.
///
/// # Errors
/// Says what was found and what would be right.
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
    pub(crate) fn of(context: &BuildContext, targets: &[Target], rank: usize) -> anyhow::Result<Vec<Self>> {
        if context.encoder.layers() == 0 {
            bail!("the encoder has no layer whose matrices could be changed");
        }
        let layer = context.encoder.layout(Part::Layer(0));
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
        format!("layer.{index}.{}", self.target.file_name())
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

/// The view of a layer whose `matrices` are changed by `deltas`, `[outputs, inputs]` each; `pull_back` carries their
/// gradients on, and the base's own goes to the base where it is trained.
///
/// # Errors
/// Those of candle.
pub(crate) fn changed_slot(
    layer: &Param,
    matrices: &[Matrix],
    deltas: &[Tensor],
    pass: &mut Pass,
    pull_back: impl FnOnce(&Flat, &mut TaskGradient) -> Result<()> + Send + 'static,
) -> Result<ParameterView> {
    let theta = changed(layer, matrices, deltas)?;
    let ranges: Vec<Range<usize>> = matrices.iter().map(|matrix| matrix.range.clone()).collect();
    let below = layer.trainable().then(|| layer.name().to_string());
    let wants = if below.is_some() { Wants::All } else { Wants::Ranges(ranges.into()) };
    pass.materialise_with(&theta, layer.layout(), wants, move |gradient: GradientBlock, row: &mut TaskGradient| {
        let gradient = dense(gradient)?;
        pull_back(&gradient, row)?;
        if let Some(name) = below {
            row.add(TaskGradient([(name, GradientBlock::Dense(gradient))].into()));
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
