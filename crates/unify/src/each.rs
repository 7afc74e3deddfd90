//! Work on every tensor, several at once; what comes out does not depend on how many.

use std::collections::BTreeMap;

use anyhow::Result;
use rayon::prelude::*;

use crate::{Addition, Inputs, Mask, Merged, Model, Part, Tensor, Tensors};

/// What `make` makes of every tensor of the ancestor, in their order.
pub(crate) fn each<T: Send>(
    inputs: &Inputs,
    make: impl Fn(&str, &Tensor) -> Result<T> + Sync,
) -> Result<Vec<(String, T)>> {
    let all: Vec<_> = inputs.ancestor().iter().collect();
    all.into_par_iter().map(|(name, tensor)| Ok((name.clone(), make(name, tensor)?))).collect()
}

/// The merge whose tensors `make` gives in f64, with no addition.
pub(crate) fn merged(inputs: &Inputs, make: impl Fn(&str, &Tensor) -> Result<Vec<f64>> + Sync) -> Result<Merged> {
    let tensors = each(inputs, |name, tensor| {
        let values = make(name, tensor)?.into_iter().map(|value| value as f32).collect();
        Ok(Tensor { shape: tensor.shape.clone(), values })
    })?;
    Ok(Merged { tensors: Tensors::from_iter(tensors), additions: Vec::new() })
}

/// The merge θ₀ + scaling · τ with the τ that `make` gives.
pub(crate) fn moved(
    inputs: &Inputs,
    scaling: f64,
    make: impl Fn(&str, &Tensor) -> Result<Vec<f64>> + Sync,
) -> Result<Merged> {
    merged(inputs, |name, ancestor| Ok(added(ancestor, scaling, &make(name, ancestor)?)))
}

/// θ₀ + scaling · τ.
pub(crate) fn added(ancestor: &Tensor, scaling: f64, delta: &[f64]) -> Vec<f64> {
    ancestor.values.iter().zip(delta).map(|(before, delta)| f64::from(*before) + scaling * delta).collect()
}

/// Σ wₖ xₖ.
pub(crate) fn weighted_sum(vectors: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; vectors.first().map_or(0, Vec::len)];
    for (vector, weight) in vectors.iter().zip(weights) {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
    }
    sum
}

/// Σ xₖ / K.
pub(crate) fn mean(vectors: &[Vec<f64>]) -> Vec<f64> {
    weighted_sum(vectors, &vec![1.0 / vectors.len() as f64; vectors.len()])
}

/// The values of a tensor in f64.
pub(crate) fn double(tensor: &Tensor) -> Vec<f64> {
    tensor.values.iter().map(|value| f64::from(*value)).collect()
}

/// The merge of tensors with a mask for each task, whose masked task vectors are multiplied by `factors`.
pub(crate) fn masked(inputs: &Inputs, made: Vec<(String, (Tensor, Vec<Mask>))>, factors: &[f64]) -> Merged {
    let parts = |masks: Vec<Mask>| masks.into_iter().map(Part::Masked).collect();
    let made = made.into_iter().map(|(name, (tensor, masks))| (name, (tensor, parts(masks)))).collect();
    with_parts(inputs, made, factors)
}

/// The merge of tensors with a part for each task.
pub(crate) fn with_parts(inputs: &Inputs, made: Vec<(String, (Tensor, Vec<Part>))>, factors: &[f64]) -> Merged {
    let empty =
        |(model, scale): (&Model, &f64)| Addition { model: model.name.clone(), scale: *scale, parts: BTreeMap::new() };
    let mut additions: Vec<Addition> = inputs.models().iter().zip(factors).map(empty).collect();
    let mut tensors = Tensors::new();
    for (name, (tensor, parts)) in made {
        for (addition, part) in additions.iter_mut().zip(parts) {
            addition.parts.insert(name.clone(), part);
        }
        tensors.insert(name, tensor);
    }
    Merged { tensors, additions }
}
