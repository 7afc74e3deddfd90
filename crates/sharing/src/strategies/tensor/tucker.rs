//! Tucker: Δ_t = U₁·(Σ_c aₜ_c·S_c)·U₂ᵀ, a basis of rows, a basis of columns, and a core of r₁×r₂ matrices.
//!
//! Decomposition: the higher-order SVD. Each basis holds the leading left singular vectors of the deltas unfolded along
//! its axis; the core is what the deltas are in these bases.

use candle_core::{Result, Tensor};
use mtl_task::rng::Key;

use super::factors::{Found, Limits};
use super::small::{across_tasks, leading};

/// Rows' basis `[rows, r₁]`, columns' basis `[columns, r₂]`, core `[r₃, r₁·r₂]`.
pub(super) fn shapes([rows, columns, _]: [usize; 3], [left, right, mix]: [usize; 3]) -> Vec<(usize, usize)> {
    vec![(rows, left), (columns, right), (mix, left * right)]
}

/// U₁·(Σ_c a_c·S_c)·U₂ᵀ.
pub(super) fn delta([left, right, _]: [usize; 3], shared: &[Tensor], mix: &Tensor) -> Result<Tensor> {
    let core = mix.matmul(&shared[2])?.reshape((left, right))?;
    shared[0].matmul(&core)?.matmul(&shared[1].t()?)
}

pub(super) fn decompose(deltas: &[Tensor], limits: Limits, key: Key) -> Result<Found> {
    let turned: Vec<Tensor> = deltas.iter().map(|delta| delta.t()?.contiguous()).collect::<Result<_>>()?;
    // Three truncations share the error.
    let (rows, left) = leading(&Tensor::cat(deltas, 1)?, limits.ranks[0], limits.error, 3, key.named("rows"))?;
    let (columns, right) = leading(&Tensor::cat(&turned, 1)?, limits.ranks[1], limits.error, 3, key.named("columns"))?;
    let flat: Vec<Tensor> = deltas.iter().map(Tensor::flatten_all).collect::<Result<_>>()?;
    let (mixes, _, rank) = across_tasks(&Tensor::stack(&flat, 0)?, limits.ranks[2], limits.error, 3)?;
    let seen = |delta: &Tensor| rows.t()?.matmul(delta)?.matmul(&columns)?.flatten_all();
    let seen: Vec<Tensor> = deltas.iter().map(seen).collect::<Result<_>>()?;
    let core = mixes.t()?.matmul(&Tensor::stack(&seen, 0)?)?;
    Ok(Found { shared: vec![rows, columns, core], mixes, ranks: [left, right, rank] })
}
