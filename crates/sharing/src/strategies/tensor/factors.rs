//! The factors of one matrix's deltas, whatever their form.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Flat, with_flat};
use mtl_task::rng::Key;
use serde::{Deserialize, Serialize};

use super::{laf, tt, tucker};

/// How the deltas are factorised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Mixtures of whole matrices.
    Laf,
    /// A core and a basis along every axis.
    Tucker,
    /// A tensor train.
    Tt,
}

/// The factors of the deltas of one `[rows, columns]` matrix.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    form: Form,
    /// Rows, columns and tasks.
    pub(super) dims: [usize; 3],
    /// The highest rank along each of the three.
    pub(super) ranks: [usize; 3],
}

/// What a decomposition found.
pub(super) struct Found {
    /// The shared factors, as [`Factors::shapes`] says, f64.
    pub(super) shared: Vec<Tensor>,
    /// The tasks' mixes, `[tasks, rank]`, f64.
    pub(super) mixes: Tensor,
    /// Ranks that are in use, by axis.
    pub(super) ranks: [usize; 3],
}

/// How a decomposition chooses its ranks.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Upper bounds by axis.
    pub(super) ranks: [usize; 3],
    /// Bound on the relative error, or 0.
    pub(super) error: f64,
}

impl Factors {
    pub(super) fn new(form: Form, rank: usize, dims: [usize; 3]) -> Self {
        Self { form, dims, ranks: dims.map(|dim| rank.min(dim)) }
    }

    /// What the shared factors are called.
    pub(super) fn names(&self) -> &'static [&'static str] {
        match self.form {
            Form::Laf => &["mixtures"],
            Form::Tucker => &["left", "right", "core"],
            Form::Tt => &["left", "right"],
        }
    }

    /// Shapes of the shared factors.
    pub(super) fn shapes(&self) -> Vec<(usize, usize)> {
        match self.form {
            Form::Laf => laf::shapes(self.dims, self.ranks),
            Form::Tucker => tucker::shapes(self.dims, self.ranks),
            Form::Tt => tt::shapes(self.dims, self.ranks),
        }
    }

    /// What training starts from: the shared factors, of which the last is zero, and the tasks' mixes `[tasks, rank]`.
    /// Every other element is drawn alike, such that a last factor of independent elements of deviation δ makes deltas
    /// whose elements have deviation `scale`·δ.
    pub(super) fn random(&self, scale: f64, key: Key) -> Result<(Vec<Tensor>, Tensor)> {
        let shapes = self.shapes();
        // What is summed over on the way from the last factor to an element beside the tasks' rank.
        let inner: usize = match self.form {
            Form::Laf => 1,
            Form::Tucker => self.ranks[0] * self.ranks[1],
            Form::Tt => self.ranks[0],
        };
        // All factors but the last are drawn, and the mixes: as many as there are factors.
        let deviation = (scale / ((inner * self.ranks[2]) as f64).sqrt()).powf(1. / shapes.len() as f64);
        let normal = |key: Key, (rows, columns): (usize, usize)| {
            let mut stream = key.stream();
            let values: Vec<f64> = (0..rows * columns).map(|_| stream.normal() * deviation).collect();
            Tensor::from_vec(values, (rows, columns), &Device::Cpu)
        };
        let shared = |(at, &shape): (usize, &(usize, usize))| match at + 1 == shapes.len() {
            true => Tensor::zeros(shape, DType::F64, &Device::Cpu),
            false => normal(key.with(at as u64), shape),
        };
        let factors = shapes.iter().enumerate().map(shared).collect::<Result<_>>()?;
        Ok((factors, normal(key.named("mix"), (self.dims[2], self.ranks[2]))?))
    }

    /// Δ_t `[rows, columns]` from the shared factors and the task's mix `[1, rank]`, differentiable in both.
    pub(super) fn delta(&self, shared: &[Tensor], mix: &Tensor) -> Result<Tensor> {
        match self.form {
            Form::Laf => laf::delta(self.dims, shared, mix),
            Form::Tucker => tucker::delta(self.ranks, shared, mix),
            Form::Tt => tt::delta(self.dims, self.ranks, shared, mix),
        }
    }

    /// The factors nearest to the tasks' `deltas`, `[rows, columns]` each, in f64.
    pub(super) fn decompose(&self, deltas: &[Tensor], error: f64, key: Key) -> Result<Found> {
        let limits = Limits { ranks: self.ranks, error };
        match self.form {
            Form::Laf => laf::decompose(deltas, limits),
            Form::Tucker => tucker::decompose(deltas, limits, key),
            Form::Tt => tt::decompose(deltas, limits, key),
        }
    }

    /// Relative error of `found` as a picture of `deltas`; 0 if these are zero.
    pub(super) fn error(&self, found: &Found, deltas: &[Tensor]) -> Result<f64> {
        let (mut missed, mut whole) = (0., 0.);
        for (task, delta) in deltas.iter().enumerate() {
            let pictured = self.delta(&found.shared, &found.mixes.narrow(0, task, 1)?)?;
            missed += (pictured - delta)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
            whole += delta.sqr()?.sum_all()?.to_scalar::<f64>()?;
        }
        Ok(if whole > 0. { (missed / whole).sqrt() } else { 0. })
    }
}

/// The elements `range` of `values`, as a flat tensor on `device`.
pub(super) fn cut(values: &Flat, range: &Range<usize>, device: &Device) -> Result<Tensor> {
    with_flat!(values, values => Tensor::from_slice(&values[range.clone()], range.len(), device))
}

/// The elements `range` of `values` as a matrix in f64.
pub(super) fn matrix(values: &Flat, range: &Range<usize>, dims: [usize; 3]) -> Result<Tensor> {
    cut(values, range, &Device::Cpu)?.to_dtype(DType::F64)?.reshape((dims[0], dims[1]))
}
