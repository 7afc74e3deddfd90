//! The little dense algebra that the methods need, on row-major matrices in f64.

/// xᵀy.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// y ← y + f·x.
pub(crate) fn add_scaled(y: &mut [f64], f: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += f * x);
}

/// sum ← sum + A·B, A `[rows, inner]`, B `[inner, columns]`.
pub(crate) fn add_product(a: &[f64], b: &[f64], inner: usize, columns: usize, sum: &mut [f64]) {
    if inner == 0 || columns == 0 {
        return;
    }
    for (row, sum) in a.chunks_exact(inner).zip(sum.chunks_exact_mut(columns)) {
        for (factor, other) in row.iter().zip(b.chunks_exact(columns)) {
            add_scaled(sum, *factor, other);
        }
    }
}

/// Σₖ sₖ uₖ vₖᵀ, `[rows, columns]`.
pub(crate) fn outer_sum(s: &[f64], u: &[Vec<f64>], v: &[Vec<f64>], rows: usize, columns: usize) -> Vec<f64> {
    let mut sum = vec![0.0; rows * columns];
    for (i, row) in sum.chunks_exact_mut(columns.max(1)).enumerate() {
        for ((s, u), v) in s.iter().zip(u).zip(v) {
            add_scaled(row, s * u[i], v);
        }
    }
    sum
}

/// The lower factor L of A = LLᵀ, `[size, size]`; `None` if A is not positive definite to rounding.
pub(crate) fn cholesky(a: &[f64], size: usize) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; size * size];
    let largest = (0..size).fold(0.0, |most: f64, i| most.max(a[i * size + i]));
    for i in 0..size {
        let (above, row) = lower.split_at_mut(i * size);
        for j in 0..i {
            let other = &above[j * size..][..=j];
            row[j] = (a[i * size + j] - dot(&row[..j], other)) / other[j];
        }
        let pivot = a[i * size + i] - dot(&row[..i], &row[..i]);
        if !(pivot > largest * size as f64 * f64::EPSILON && pivot.is_finite()) {
            return None;
        }
        row[i] = pivot.sqrt();
    }
    Some(lower)
}

/// x ← (LLᵀ)⁻¹ x.
pub(crate) fn solve(lower: &[f64], size: usize, x: &mut [f64]) {
    for i in 0..size {
        let row = &lower[i * size..][..=i];
        x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
    }
    for i in (0..size).rev() {
        let row = &lower[i * size..][..=i];
        x[i] /= row[i];
        let known = x[i];
        add_scaled(&mut x[..i], -known, &row[..i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_solves_and_a_singular_matrix_has_none() {
        let a = [4.0, 2.0, 0.0, 2.0, 5.0, 1.0, 0.0, 1.0, 3.0];
        let lower = cholesky(&a, 3).expect("positive definite");
        let x = [1.0, -2.0, 0.5];
        let mut right = [0.0; 3];
        add_product(&a, &x, 3, 1, &mut right);
        solve(&lower, 3, &mut right);
        x.iter().zip(&right).for_each(|(x, found)| assert!((x - found).abs() < 1e-14, "{found} for {x}"));
        assert!(cholesky(&[1.0, 1.0, 1.0, 1.0], 2).is_none());
        assert!(cholesky(&[0.0], 1).is_none());
    }
}
