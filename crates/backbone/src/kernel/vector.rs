//! Arithmetic on long flat vectors: inner products of gradients, and their weighted sum. Products are added up in
//! f64, piece by piece in a fixed order.

use rayon::prelude::*;

use super::Real;
use super::simd::vectorised;
use super::sums::sum_over;

/// Elements in a piece of work.
const PIECE: usize = 1 << 15;
/// Elements that are turned into f64 at one time: a few rows of them stay in a core's cache.
const STRIP: usize = 1 << 10;

/// ⟨a, b⟩.
///
/// # Panics
/// If the lengths differ.
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len(), "an inner product of two lengths");
    a.par_chunks(PIECE).zip(b.par_chunks(PIECE)).map(|(a, b)| piece_dot(a, b)).collect::<Vec<f64>>().iter().sum()
}

/// ‖a‖.
pub fn norm<T: Real>(a: &[T]) -> f64 {
    dot(a, a).sqrt()
}

vectorised! {
    fn piece_dot<T: Real>(a: &[T], b: &[T]) -> f64 {
        let b = &b[..a.len()];
        sum_over(a.len(), |at| a[at].to_f64() * b[at].to_f64())
    }
}

/// Gᵢⱼ = ⟨rowᵢ, rowⱼ⟩, `[K · K]` row-major, in one pass over the rows.
///
/// # Panics
/// If the rows' lengths differ.
pub fn gram<T: Real>(rows: &[&[T]]) -> Vec<f64> {
    let (tasks, length) = (rows.len(), rows.first().map_or(0, |row| row.len()));
    assert!(rows.iter().all(|row| row.len() == length), "gradients of two lengths");
    let pieces: Vec<Vec<f64>> = (0..length.div_ceil(PIECE))
        .into_par_iter()
        .map(|piece| {
            let (start, end) = (piece * PIECE, length.min((piece + 1) * PIECE));
            let mut strips = vec![0.; tasks * STRIP];
            let mut sums = vec![0.; tasks * tasks];
            for start in (start..end).step_by(STRIP) {
                let count = STRIP.min(end - start);
                for (row, strip) in rows.iter().zip(strips.chunks_exact_mut(STRIP)) {
                    widen(&row[start..start + count], &mut strip[..count]);
                }
                for i in 0..tasks {
                    for j in 0..=i {
                        sums[i * tasks + j] += piece_dot(&strips[i * STRIP..][..count], &strips[j * STRIP..][..count]);
                    }
                }
            }
            sums
        })
        .collect();
    let mut gram = vec![0.; tasks * tasks];
    for i in 0..tasks {
        for j in 0..=i {
            let sum = pieces.iter().map(|sums| sums[i * tasks + j]).sum();
            (gram[i * tasks + j], gram[j * tasks + i]) = (sum, sum);
        }
    }
    gram
}

vectorised! {
    fn widen<T: Real>(from: &[T], to: &mut [f64]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f64());
    }
}

/// `out` ← Σ weightᵢ · rowᵢ.
///
/// # Panics
/// If the lengths differ.
pub fn weighted_sum<T: Real>(rows: &[&[T]], weights: &[f64], out: &mut [T]) {
    assert!(rows.len() == weights.len() && rows.iter().all(|row| row.len() == out.len()), "a weight for every row");
    out.par_chunks_mut(PIECE).enumerate().for_each(|(piece, out)| {
        out.fill(T::default());
        for (row, &weight) in rows.iter().zip(weights) {
            add_scaled(out, &row[piece * PIECE..][..out.len()], T::of(weight));
        }
    });
}

vectorised! {
    fn add_scaled<T: Real>(to: &mut [T], from: &[T], factor: T) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * *from);
    }
}
