//! Singular values by one-sided Jacobi rotations after a QR factorisation with pivoting (Drmač and Veselić, "New fast
//! and accurate Jacobi SVD algorithm I", SIAM J. Matrix Anal. Appl. 29, 2008), in f64.
//!
//! A·P = Q·R, then rotations make the rows of R orthogonal: R = J·Σ·Vᵀ, so that A = (Q·J)·Σ·(P·V)ᵀ. Pivoting leaves
//! rows that fall in length and are nearly orthogonal, so that few sweeps are left. Vectors of singular values that are
//! rounding alone are left out: what they are is chance.

use crate::linear::{add_scaled, dot, outer_sum};

/// Sweeps at most; five to ten do.
const SWEEPS: usize = 60;

/// The singular values above rounding, falling, and their vectors.
pub(crate) struct Svd {
    pub(crate) values: Vec<f64>,
    /// `left[k]`, as long as the matrix has rows.
    pub(crate) left: Vec<Vec<f64>>,
    /// `right[k]`, as long as the matrix has columns.
    pub(crate) right: Vec<Vec<f64>>,
}

impl Svd {
    /// Of the row-major `matrix`, `[rows, columns]`.
    pub(crate) fn of(matrix: &[f64], rows: usize, columns: usize) -> Self {
        let lines: Vec<Vec<f64>> = match rows >= columns {
            true => (0..columns).map(|j| (0..rows).map(|i| matrix[i * columns + j]).collect()).collect(),
            false => matrix.chunks_exact(columns.max(1)).map(<[f64]>::to_vec).collect(),
        };
        let found = Self::of_columns(lines);
        match rows >= columns {
            true => found,
            false => Self { values: found.values, left: found.right, right: found.left },
        }
    }

    /// Of the matrix of these columns, none shorter than there are columns.
    pub(crate) fn of_columns(columns: Vec<Vec<f64>>) -> Self {
        let (short, long) = (columns.len(), columns.first().map_or(0, Vec::len));
        let Factors { reflectors, mut rows, order } = factorised(columns);
        let mut turned = identity(short);
        orthogonalise(&mut rows, &mut turned);

        let lengths: Vec<f64> = rows.iter().map(|row| dot(row, row).sqrt()).collect();
        let largest = lengths.iter().fold(0.0, |most: f64, length| most.max(*length));
        let mut kept: Vec<usize> = (0..short).filter(|&k| lengths[k] > largest * long as f64 * f64::EPSILON).collect();
        kept.sort_by(|&i, &j| lengths[j].total_cmp(&lengths[i]));
        let left = |&k: &usize| {
            let mut vector = turned[k].clone();
            vector.resize(long, 0.0);
            for (at, reflector) in reflectors.iter().enumerate().rev() {
                reflect(&mut vector[at..], reflector);
            }
            vector
        };
        let right = |&k: &usize| {
            let mut vector = vec![0.0; short];
            order.iter().zip(&rows[k]).for_each(|(&at, value)| vector[at] = value / lengths[k]);
            vector
        };
        Self {
            values: kept.iter().map(|&k| lengths[k]).collect(),
            left: kept.iter().map(left).collect(),
            right: kept.iter().map(right).collect(),
        }
    }

    /// The matrix again with other singular values, `[rows, columns]`.
    pub(crate) fn with_values(&self, values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        outer_sum(values, &self.left, &self.right, rows, columns)
    }
}

/// The columns of U·Vᵀ of the matrix M = U·Σ·Vᵀ of these columns: the nearest orthogonal ones (its polar factor).
pub(crate) fn orthogonal(columns: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let count = columns.len();
    let length = columns.first().map_or(0, Vec::len);
    let Svd { left, right, .. } = Svd::of_columns(columns);
    let column = |k: usize| {
        let mut sum = vec![0.0; length];
        left.iter().zip(&right).for_each(|(u, v)| add_scaled(&mut sum, v[k], u));
        sum
    };
    (0..count).map(column).collect()
}

/// A·P = Q·R.
struct Factors {
    /// Unit vectors of the reflections that Q is the product of; the k-th acts from element k on.
    reflectors: Vec<Vec<f64>>,
    /// R by rows, zeros below its diagonal.
    rows: Vec<Vec<f64>>,
    /// The column of A that each column of R is of.
    order: Vec<usize>,
}

fn factorised(mut columns: Vec<Vec<f64>>) -> Factors {
    let short = columns.len();
    let mut order: Vec<usize> = (0..short).collect();
    let mut rows = vec![vec![0.0; short]; short];
    let mut reflectors = Vec::with_capacity(short);
    for k in 0..short {
        let rest = |column: &Vec<f64>| dot(&column[k..], &column[k..]);
        let longest = (k..short).map(|j| (j, rest(&columns[j]))).fold((k, -1.0), |a, b| if b.1 > a.1 { b } else { a });
        columns.swap(k, longest.0);
        order.swap(k, longest.0);
        rows.iter_mut().take(k).for_each(|row| row.swap(k, longest.0));
        if longest.1 <= 0.0 {
            break;
        }
        let norm = longest.1.sqrt();
        let (done, ahead) = columns.split_at_mut(k + 1);
        let own = &done[k][k..];
        let diagonal = -norm.copysign(own[0]);
        let mut reflector = own.to_vec();
        reflector[0] -= diagonal;
        let length = dot(&reflector, &reflector).sqrt();
        reflector.iter_mut().for_each(|value| *value /= length);
        rows[k][k] = diagonal;
        for (j, column) in ahead.iter_mut().enumerate() {
            reflect(&mut column[k..], &reflector);
            rows[k][k + 1 + j] = column[k];
        }
        reflectors.push(reflector);
    }
    Factors { reflectors, rows, order }
}

/// x ← x − 2v(vᵀx).
fn reflect(x: &mut [f64], v: &[f64]) {
    let along = dot(x, v);
    add_scaled(x, -2.0 * along, v);
}

fn identity(size: usize) -> Vec<Vec<f64>> {
    (0..size).map(|i| (0..size).map(|j| f64::from(u8::from(i == j))).collect()).collect()
}

/// Rotates pairs of `rows` until all are orthogonal, and the rows of `turned` with them.
fn orthogonalise(rows: &mut [Vec<f64>], turned: &mut [Vec<f64>]) {
    let count = rows.len();
    let near = f64::EPSILON * (count as f64).sqrt().max(4.0);
    for _ in 0..SWEEPS {
        let mut squares: Vec<f64> = rows.iter().map(|row| dot(row, row)).collect();
        let largest = squares.iter().fold(0.0, |most: f64, square| most.max(*square));
        let nothing = largest * (count as f64 * f64::EPSILON).powi(2);
        let mut rotated = false;
        for p in 0..count {
            for q in p + 1..count {
                if squares[p] <= nothing || squares[q] <= nothing {
                    continue;
                }
                let product = dot(&rows[p], &rows[q]);
                if product.abs() <= near * (squares[p] * squares[q]).sqrt() {
                    continue;
                }
                rotated = true;
                let half = (squares[q] - squares[p]) / (2.0 * product);
                let tangent = (half.abs() + half.hypot(1.0)).recip().copysign(half);
                let cosine = tangent.hypot(1.0).recip();
                rotate(rows, p, q, cosine, cosine * tangent);
                rotate(turned, p, q, cosine, cosine * tangent);
                squares[p] = dot(&rows[p], &rows[p]);
                squares[q] = dot(&rows[q], &rows[q]);
            }
        }
        if !rotated {
            break;
        }
    }
}

fn rotate(rows: &mut [Vec<f64>], p: usize, q: usize, cosine: f64, sine: f64) {
    let (above, below) = rows.split_at_mut(q);
    for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtl_task::rng::Key;

    fn random(rows: usize, columns: usize, seed: u64) -> Vec<f64> {
        let mut stream = Key::new(seed).stream();
        (0..rows * columns).map(|_| stream.normal()).collect()
    }

    fn unit(vectors: &[Vec<f64>]) {
        for (i, x) in vectors.iter().enumerate() {
            for (j, y) in vectors.iter().enumerate() {
                let right = f64::from(u8::from(i == j));
                assert!((dot(x, y) - right).abs() < 1e-12, "{i} {j}: {}", dot(x, y));
            }
        }
    }

    #[test]
    fn values_and_vectors_make_the_matrix_again() {
        for (rows, columns) in [(1, 1), (1, 5), (5, 1), (7, 7), (30, 12), (12, 40)] {
            let matrix = random(rows, columns, (rows * 100 + columns) as u64);
            let svd = Svd::of(&matrix, rows, columns);
            assert_eq!(svd.values.len(), rows.min(columns));
            assert!(svd.values.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", svd.values);
            unit(&svd.left);
            unit(&svd.right);
            let again = svd.with_values(&svd.values, rows, columns);
            again
                .iter()
                .zip(&matrix)
                .for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{rows}×{columns}: {a} for {b}"));
        }
    }

    #[test]
    fn rounding_has_no_vectors_and_small_values_keep_their_digits() {
        let (u, v) = (random(9, 2, 1), random(2, 6, 2));
        let mut matrix = vec![0.0; 54];
        crate::linear::add_product(&u, &v, 2, 6, &mut matrix);
        assert_eq!(Svd::of(&matrix, 9, 6).values.len(), 2);
        assert!(Svd::of(&[0.0; 6], 2, 3).values.is_empty());
        assert!(Svd::of(&[], 0, 3).values.is_empty());
        // diag(1, 1e-10) with its columns turned.
        let svd = Svd::of(&[0.6, 0.8, -0.8e-10, 0.6e-10], 2, 2);
        assert!((svd.values[1] / 1e-10 - 1.0).abs() < 1e-14, "{:?}", svd.values);
    }

    #[test]
    fn the_polar_factor_is_orthogonal_and_keeps_what_is() {
        let columns: Vec<Vec<f64>> = random(4, 9, 5).chunks_exact(9).map(<[f64]>::to_vec).collect();
        let factor = orthogonal(columns);
        unit(&factor);
        for (a, b) in orthogonal(factor.clone()).iter().flatten().zip(factor.iter().flatten()) {
            assert!((a - b).abs() < 1e-13);
        }
    }
}
