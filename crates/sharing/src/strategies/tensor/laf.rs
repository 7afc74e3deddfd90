//! Last axis flattening: Δ_t = Σ_r aₜᵣ·U_r, tasks as mixtures of R whole matrices.
//!
//! Decomposition: the K×K Gram matrix of the deltas has eigenvectors Q; U = Qᵀ·(deltas), aₜ = row t of Q. Exact at R =
//! K.

use candle_core::{Result, Tensor};

use super::factors::{Found, Limits};
use super::small::across_tasks;

/// The mixtures, `[R, rows·columns]`.
pub(super) fn shapes([rows, columns, _]: [usize; 3], [.., mix]: [usize; 3]) -> Vec<(usize, usize)> {
    vec![(mix, rows * columns)]
}

/// Σ_r aᵣ·U_r.
pub(super) fn delta([rows, columns, _]: [usize; 3], shared: &[Tensor], mix: &Tensor) -> Result<Tensor> {
    mix.matmul(&shared[0])?.reshape((rows, columns))
}

pub(super) fn decompose(deltas: &[Tensor], limits: Limits) -> Result<Found> {
    let stack: Vec<Tensor> = deltas.iter().map(Tensor::flatten_all).collect::<Result<_>>()?;
    let (mixes, mixtures, rank) = across_tasks(&Tensor::stack(&stack, 0)?, limits.ranks[2], limits.error, 1)?;
    let [rows, columns, _] = limits.ranks;
    Ok(Found { shared: vec![mixtures], mixes, ranks: [rows, columns, rank] })
}
