//! Rows of the word table, and their gradient: only the rows that a batch read.

use rayon::prelude::*;

use super::Real;
use super::sums::add;

/// Writes rows `ids` of `table`, `[rows, width]`, to `out`, `[ids, width]`.
///
/// # Panics
/// If an id lies outside the table, or the lengths do not fit.
pub fn gather<T: Real>(table: &[T], ids: &[u32], width: usize, out: &mut [T]) {
    assert_eq!(out.len(), ids.len() * width, "{} rows of {width}", ids.len());
    out.par_chunks_exact_mut(width.max(1)).with_min_len(32).zip(ids).for_each(|(out, &id)| {
        out.copy_from_slice(&table[id as usize * width..][..width]);
    });
}

/// The gradient of [`gather`]'s table from `dout`, `[ids, width]`: the ids it read, rising, and their rows, each the
/// sum over its tokens in their order.
///
/// # Panics
/// If the lengths do not fit.
pub fn scatter<T: Real>(ids: &[u32], dout: &[T], width: usize) -> (Vec<u32>, Vec<T>) {
    assert_eq!(dout.len(), ids.len() * width, "{} rows of {width}", ids.len());
    let mut tokens: Vec<(u32, usize)> = ids.iter().copied().zip(0..).collect();
    tokens.sort_unstable();
    let groups: Vec<&[(u32, usize)]> = tokens.chunk_by(|a, b| a.0 == b.0).collect();
    let mut rows = vec![T::default(); groups.len() * width];
    rows.par_chunks_exact_mut(width.max(1)).with_min_len(32).zip(&groups).for_each(|(row, group)| {
        for (_, token) in *group {
            add(row, &dout[token * width..][..width]);
        }
    });
    (groups.iter().map(|group| group[0].0).collect(), rows)
}
