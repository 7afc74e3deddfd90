//! What the parameter-efficient strategies are made of: a base encoder, frozen or trained by every task, and additions
//! to it that each task has for itself or all tasks share.

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Part};
use mtl_task::TaskId;
use mtl_task::rng::Key;

use crate::blocks::values::{copied, on_host};
use crate::{BuildContext, EncoderWeights, Role, Scope};

/// Puts the pretrained encoder into the context's parameters: as `shared/…` if `trained`, else as `frozen/…`.
///
/// # Errors
/// If its names are taken.
pub(crate) fn base(context: &mut BuildContext, trained: bool) -> Result<EncoderWeights> {
    let scope = if trained { context.shared() } else { context.frozen() };
    EncoderWeights::insert(context, &scope)
}

/// One addition for each task, or one that all tasks share.
pub(crate) struct Additions<T>(Vec<T>);

impl<T> Additions<T> {
    /// Builds them; `build` is given who owns what it inserts.
    ///
    /// # Errors
    /// Those of `build`.
    pub(crate) fn build(
        context: &mut BuildContext,
        shared: bool,
        mut build: impl FnMut(&mut BuildContext, &Scope) -> Result<T>,
    ) -> Result<Self> {
        if shared {
            let everyone = context.shared().with_role(Role::Added);
            return Ok(Self(vec![build(context, &everyone)?]));
        }
        let scopes = context.each();
        let built = scopes.iter().map(|scope| build(context, &scope.with_role(Role::Added)));
        Ok(Self(built.collect::<Result<_>>()?))
    }

    /// The addition that `task` sees.
    pub(crate) fn of(&self, task: TaskId) -> &T {
        &self.0[task.0.min(self.0.len() - 1)]
    }

    /// What the heads of `tasks` read of a base encoder with these additions: one walk if all tasks share theirs.
    ///
    /// # Errors
    /// Those of `represent`.
    pub(crate) fn represent_each(
        &self,
        tasks: &[TaskId],
        mut represent: impl FnMut(TaskId) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        match (&self.0[..], tasks) {
            ([_], [first, ..]) => Ok(vec![represent(*first)?; tasks.len()]),
            _ => tasks.iter().map(|&task| represent(task)).collect(),
        }
    }

    /// All of them, each once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// An affine map x ↦ x·Wᵀ + b.
pub(crate) struct Map {
    weight: Param,
    bias: Param,
}

impl Map {
    /// Puts the map `{scope}/{name}` into the context's parameters: weights N(0, `deviation`²), bias 0.
    ///
    /// # Errors
    /// If its names are taken.
    pub(crate) fn insert(
        context: &mut BuildContext,
        scope: &Scope,
        name: &str,
        (outputs, inputs): (usize, usize),
        deviation: f64,
    ) -> Result<Self> {
        let weight = normal(context.key.named(&format!("{scope}/{name}")), &[outputs, inputs], deviation)?;
        let bias = Tensor::zeros(outputs, context.dtype(), &Device::Cpu)?;
        Ok(Self {
            weight: context.insert_tensor(scope, &format!("{name}.weight"), &weight, true)?,
            bias: context.insert_tensor(scope, &format!("{name}.bias"), &bias, false)?,
        })
    }

    /// `[rows, outputs]` from `[rows, inputs]`.
    ///
    /// # Errors
    /// Those of candle.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight.tensor().t()?)?.broadcast_add(self.bias.tensor())
    }
}

/// Independent N(0, `deviation`²), zeros if `deviation` is 0.
///
/// # Errors
/// Those of candle.
pub(crate) fn normal(key: Key, shape: &[usize], deviation: f64) -> Result<Tensor> {
    if deviation == 0. {
        return Tensor::zeros(shape, DType::F32, &Device::Cpu);
    }
    let mut stream = key.stream();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| (stream.normal() * deviation) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Independent uniform in [−`bound`, `bound`).
///
/// # Errors
/// Those of candle.
pub(crate) fn uniform(key: Key, shape: &[usize], bound: f64) -> Result<Tensor> {
    let mut stream = key.stream();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| ((2. * stream.uniform() - 1.) * bound) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// A copy of every part of an encoder as `theta` gives it, `[len]` each, bottom up.
///
/// # Errors
/// Those of `theta`.
pub(crate) fn merged(encoder: &Family, theta: impl Fn(Part) -> Result<Tensor>) -> Result<Option<Vec<(Part, Tensor)>>> {
    let parts = Part::all(encoder.layers());
    // Copies: on the host the tensors would otherwise follow every later step.
    Ok(Some(parts.map(|part| Ok((part, copied(&theta(part)?.flatten_all()?)?))).collect::<Result<_>>()?))
}

/// The Frobenius norm.
///
/// # Errors
/// Those of candle.
pub(crate) fn norm(x: &Tensor) -> Result<f64> {
    on_host(x)?.sqr()?.sum_all()?.sqrt()?.to_scalar()
}
