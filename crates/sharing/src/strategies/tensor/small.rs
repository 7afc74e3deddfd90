//! Singular vectors of wide matrices through small symmetric eigenproblems, in f64.
//!
//! A matrix X of n rows has the left singular vectors that X·Xᵀ has as eigenvectors. Where n is the number of tasks
//! that is K×K. Where it is a width of the encoder and few vectors are wanted, X is first seen from a basis Q of its
//! leading range, found by random projection and power iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4).

use candle_core::{Device, Result, Tensor};
use mtl_task::rng::Key;

use crate::blocks::singular_values::eigenvalues;

/// Columns that the range finder takes beyond the wanted rank, and how often it iterates.
const OVERSAMPLING: usize = 8;
const ITERATIONS: usize = 3;

/// The leading left singular vectors of `x` `[n, m]`, as `[n, cap]`, and how many of them are in use: as many as `cap`
/// allows, or as bring the relative error below `error`/√`shares`. Columns not in use are zero.
pub(super) fn leading(x: &Tensor, cap: usize, error: f64, shares: usize, key: Key) -> Result<(Tensor, usize)> {
    let (n, m) = x.dims2()?;
    let width = cap + OVERSAMPLING;
    let basis = if width >= n {
        None
    } else {
        let mut stream = key.stream();
        let draw: Vec<f64> = (0..m * width).map(|_| stream.normal()).collect();
        let mut basis = orthonormal(&x.matmul(&Tensor::from_vec(draw, (m, width), &Device::Cpu)?)?)?;
        for _ in 0..ITERATIONS {
            let across = orthonormal(&x.t()?.matmul(&basis)?)?;
            basis = orthonormal(&x.matmul(&across)?)?;
        }
        Some(basis)
    };
    let seen = match &basis {
        Some(basis) => basis.t()?.matmul(x)?,
        None => x.clone(),
    };
    let whole = x.sqr()?.sum_all()?.to_scalar::<f64>()?;
    let (values, vectors) = eigen(&seen)?;
    let used = used(&values, whole, cap, error, shares);
    let vectors = columns(&vectors, values.len(), cap, used)?;
    let vectors = match &basis {
        Some(basis) => basis.matmul(&vectors)?,
        None => vectors,
    };
    Ok((vectors, used))
}

/// Splits `stack` `[K, n]`, a row per task, into mixes `[K, cap]` and mixtures `[cap, n]` whose product it is, and says
/// how many are in use, as [`leading`].
pub(super) fn across_tasks(stack: &Tensor, cap: usize, error: f64, shares: usize) -> Result<(Tensor, Tensor, usize)> {
    let whole = stack.sqr()?.sum_all()?.to_scalar::<f64>()?;
    let (values, vectors) = eigen(stack)?;
    let used = used(&values, whole, cap, error, shares);
    let mixes = columns(&vectors, values.len(), cap, used)?;
    let mixtures = mixes.t()?.matmul(stack)?;
    Ok((mixes, mixtures, used))
}

/// How many of the leading `values` (squared singular values, falling) leave out at most error²/shares of the `whole`.
fn used(values: &[f64], whole: f64, cap: usize, error: f64, shares: usize) -> usize {
    let cap = cap.min(values.len());
    if error == 0. {
        return cap;
    }
    let allowed = error * error * whole / shares as f64;
    let mut missing = whole;
    for (rank, value) in values.iter().take(cap).enumerate() {
        if missing <= allowed {
            return rank;
        }
        missing -= value;
    }
    cap
}

/// The first `used` of the `vectors` of length `n` as columns, then zeros, `[n, cap]`.
fn columns(vectors: &[f64], n: usize, cap: usize, used: usize) -> Result<Tensor> {
    let element = |row: usize, at: usize| if at < used { vectors[at * n + row] } else { 0. };
    let rows: Vec<f64> = (0..n).flat_map(|row| (0..cap).map(move |at| element(row, at))).collect();
    Tensor::from_vec(rows, (n, cap), &Device::Cpu)
}

/// An orthonormal basis of the columns of `y` `[n, k]`, k ≤ n, by Gram–Schmidt, twice over. Columns that depend on the
/// ones before them become zero.
fn orthonormal(y: &Tensor) -> Result<Tensor> {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for mut column in y.t()?.to_vec2::<f64>()? {
        let before = dot(&column, &column).sqrt();
        for _ in 0..2 {
            for earlier in &basis {
                let along = dot(&column, earlier);
                column.iter_mut().zip(earlier).for_each(|(value, earlier)| *value -= along * earlier);
            }
        }
        let norm = dot(&column, &column).sqrt();
        let factor = if norm > 1e-12 * before { 1. / norm } else { 0. };
        column.iter_mut().for_each(|value| *value *= factor);
        basis.push(column);
    }
    Tensor::new(basis, &Device::Cpu)?.t()?.contiguous()
}

/// Eigenvalues of the Gram matrix X·Xᵀ, falling, and its orthonormal eigenvectors, one after the other.
fn eigen(x: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let gram = x.matmul(&x.t()?)?;
    Ok(eigenvalues(&gram.flatten_all()?.to_vec1()?, gram.dim(0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: usize, columns: usize, seed: u64) -> Result<Tensor> {
        let mut stream = Key::new(seed).stream();
        let values: Vec<f64> = (0..rows * columns).map(|_| stream.normal()).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu)
    }

    fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
        Ok((a - b)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt())
    }

    #[test]
    fn the_range_finder_finds_what_a_low_rank_matrix_lives_in() -> Result<()> {
        let x = random(40, 3, 1)?.matmul(&random(3, 70, 2)?)?;
        let (vectors, used) = leading(&x, 5, 0., 1, Key::new(3))?;
        assert_eq!((vectors.dims(), used), (&[40, 5][..], 5));
        assert!(distance(&vectors.matmul(&vectors.t()?.matmul(&x)?)?, &x)? < 1e-10);
        let (vectors, used) = leading(&x, 5, 1e-6, 1, Key::new(3))?;
        assert_eq!(used, 3);
        assert!(vectors.narrow(1, 3, 2)?.sqr()?.sum_all()?.to_scalar::<f64>()? == 0.);
        assert!(
            distance(
                &vectors.t()?.matmul(&vectors)?.narrow(0, 0, 3)?.narrow(1, 0, 3)?,
                &Tensor::eye(3, x.dtype(), x.device())?
            )? < 1e-12
        );
        Ok(())
    }

    #[test]
    fn the_error_is_kept_and_no_rank_is_spent_below_it() -> Result<()> {
        let x = random(30, 50, 4)?;
        let whole = distance(&x, &x.zeros_like()?)?;
        let (vectors, used) = leading(&x, 30, 0.5, 1, Key::new(5))?;
        let error = |vectors: &Tensor| {
            Ok::<f64, candle_core::Error>(distance(&vectors.matmul(&vectors.t()?.matmul(&x)?)?, &x)? / whole)
        };
        assert!(used < 30 && error(&vectors)? <= 0.5);
        assert!(error(&vectors.narrow(1, 0, used - 1)?)? > 0.5);
        Ok(())
    }

    #[test]
    fn tasks_split_exactly_at_full_rank_and_zero_deltas_stay_zero() -> Result<()> {
        let stack = random(3, 20, 6)?;
        let (mixes, mixtures, used) = across_tasks(&stack, 3, 0., 1)?;
        assert_eq!(used, 3);
        assert!(distance(&mixes.matmul(&mixtures)?, &stack)? < 1e-13);
        let (vectors, used) = leading(&stack.zeros_like()?, 2, 0.1, 1, Key::new(7))?;
        assert_eq!((used, vectors.sqr()?.sum_all()?.to_scalar::<f64>()?), (0, 0.));
        Ok(())
    }
}
