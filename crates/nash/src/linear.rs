//! The little dense algebra that the kernel needs, in loop orders that compilers vectorise.

use crate::math::sqrt;

/// Rows eliminated at once: each trailing row is loaded and stored once for all of them.
const BLOCK: usize = 4;

/// aᵀb, in four interleaved sums.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_fours, a_rest) = a.as_chunks::<4>();
    let (b_fours, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (x, y) in a_fours.iter().zip(b_fours) {
        for lane in 0..4 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// y ← y − f·x.
fn subtract(y: &mut [f64], f: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y -= f * x;
    }
}

/// A = UᵀU in place, in the upper triangle of row-major `a`, `[n · n]`; the lower is neither read nor written.
///
/// False, with `a` spoilt, if A is not positive definite.
pub(crate) fn cholesky(a: &mut [f64], n: usize) -> bool {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let (above, below) = a.split_at_mut(end * n);
        for p in start..end {
            let (head, tail) = above.split_at_mut((p + 1) * n);
            let pivot_row = &mut head[p * n + p..];
            if !(pivot_row[0] > 0.0 && pivot_row[0].is_finite()) {
                return false;
            }
            let pivot = sqrt(pivot_row[0]);
            pivot_row[0] = pivot;
            let inverse = 1.0 / pivot;
            for x in &mut pivot_row[1..] {
                *x *= inverse;
            }
            for (i, row) in (p + 1..end).zip(tail.chunks_exact_mut(n)) {
                subtract(&mut row[i..], pivot_row[i - p], &pivot_row[i - p..]);
            }
        }
        if end == n {
            break; // the last block may be short, and nothing follows it
        }
        let [first, second, third, fourth] = core::array::from_fn(|b| &above[(start + b) * n..(start + b + 1) * n]);
        for (i, row) in (end..n).zip(below.chunks_exact_mut(n)) {
            let factors = (first[i], second[i], third[i], fourth[i]);
            let others = first[i..].iter().zip(&second[i..]).zip(third[i..].iter().zip(&fourth[i..]));
            for (x, ((a, b), (c, d))) in row[i..].iter_mut().zip(others) {
                *x -= (factors.0 * a + factors.1 * b) + (factors.2 * c + factors.3 * d);
            }
        }
    }
    true
}

/// b ← x with UᵀUx = b, for the factor of [`cholesky`].
pub(crate) fn substitute(factor: &[f64], n: usize, b: &mut [f64]) {
    for p in 0..n {
        let row = &factor[p * n + p..(p + 1) * n];
        let (done, rest) = b.split_at_mut(p + 1);
        done[p] /= row[0];
        subtract(rest, done[p], &row[1..]);
    }
    for p in (0..n).rev() {
        let row = &factor[p * n + p..(p + 1) * n];
        b[p] = (b[p] - dot(&row[1..], &b[p + 1..])) / row[0];
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Every size around the block's, against the product of the matrix with the answer.
    #[test]
    fn solves_a_positive_definite_system() {
        for n in 0..23 {
            let a: Vec<f64> =
                (0..n * n).map(|x| if x / n == x % n { n as f64 } else { 1.0 / (1 + x / n + x % n) as f64 }).collect();
            let truth: Vec<f64> = (0..n).map(|i| (i as f64 - 3.0) * 0.7).collect();
            let mut b: Vec<f64> = (0..n).map(|i| dot(&a[i * n..(i + 1) * n], &truth)).collect();
            let mut factor = a.clone();
            assert!(cholesky(&mut factor, n));
            substitute(&factor, n, &mut b);
            assert!(b.iter().zip(&truth).all(|(x, y)| (x - y).abs() < 1e-12), "{n}: {b:?} is not {truth:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_positive_definite() {
        assert!(!cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2));
        assert!(!cholesky(&mut [f64::NAN], 1));
    }
}
