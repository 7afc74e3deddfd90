//! Tensor train: Δ_t = G₁·(Σ_b aₜ_b·G_b), a basis of rows and mixtures of r₁×columns matrices.
//!
//! Decomposition: TT-SVD, one axis after the other. The leading left singular vectors of the deltas side by side are
//! G₁; what the deltas are in that basis is then split across tasks as LAF does.

use candle_core::{Result, Tensor};
use mtl_task::rng::Key;

use super::factors::{Found, Limits};
use super::small::{across_tasks, leading};

/// Rows' basis `[rows, r₁]`, mixtures `[r₂, r₁·columns]`.
pub(super) fn shapes([rows, columns, _]: [usize; 3], [left, _, mix]: [usize; 3]) -> Vec<(usize, usize)> {
    vec![(rows, left), (mix, left * columns)]
}

/// G₁·(Σ_b a_b·G_b).
pub(super) fn delta(
    [_, columns, _]: [usize; 3],
    [left, ..]: [usize; 3],
    shared: &[Tensor],
    mix: &Tensor,
) -> Result<Tensor> {
    shared[0].matmul(&mix.matmul(&shared[1])?.reshape((left, columns))?)
}

pub(super) fn decompose(deltas: &[Tensor], limits: Limits, key: Key) -> Result<Found> {
    // Two truncations share the error.
    let (rows, left) = leading(&Tensor::cat(deltas, 1)?, limits.ranks[0], limits.error, 2, key.named("rows"))?;
    let seen = |delta: &Tensor| rows.t()?.matmul(delta)?.flatten_all();
    let seen: Vec<Tensor> = deltas.iter().map(seen).collect::<Result<_>>()?;
    let (mixes, mixtures, rank) = across_tasks(&Tensor::stack(&seen, 0)?, limits.ranks[2], limits.error, 2)?;
    Ok(Found { shared: vec![rows, mixtures], mixes, ranks: [left, limits.ranks[1], rank] })
}
