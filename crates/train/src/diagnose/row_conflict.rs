//! What two tasks demand of the same table: do they move the same rows, and do they want the same rows moved alike?
//!
//! For a table's gradient G `[rows, width]` the kernel K = G·Gᵀ says which rows a task wants to move alike, whatever
//! direction its head happens to read: it is the same for G·Q, Q a rotation. Two tasks that read different words have
//! kernels on different rows. Two that have to tell the same words apart in different ways have kernels on the same rows
//! that do not match: they conflict, although their gradients are merely at right angles as long as there is width
//! to spare. ω, the cosine of the kernels' diagonals (where they move), minus κ, the cosine of the kernels (what they
//! want alike), is how row_conflict the table is ([`mtl_eval::recovery::row_conflict`]).
//!
//! From two half-batches, sym(Gᴬ·Gᴮᵀ) has no noise on its mean. Agreement of a task with itself needs two of those:
//! four half-batches, and only the first four are used.

use std::collections::BTreeMap;

use mtl_backbone::{Flat, GradientBlock, SparseRows, TaskGradient};
use mtl_eval::recovery::Halves;

/// What one draw says of a pair of tasks and a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowStatistics {
    /// By the kernels' diagonals.
    pub(super) places: Halves,
    /// By the kernels.
    pub(super) patterns: Halves,
}

/// sym(Gᴬ·Gᴮᵀ) over the rows that one of the halves touched.
struct Kernel {
    ids: Vec<u32>,
    /// `[ids.len()²]`.
    values: Vec<f64>,
}

/// The statistics of every pair of tasks on the table `name`; nothing without four mini-batches, or where `name` is no
/// table that both reach.
pub(super) fn row_statistics(
    mini_batches: &[Vec<TaskGradient>],
    name: &str,
) -> BTreeMap<(usize, usize), RowStatistics> {
    let mut found = BTreeMap::new();
    let [a, b, c, d, ..] = mini_batches else { return found };
    let kernels: Vec<Option<[Kernel; 2]>> = (0..a.len())
        .map(|task| {
            let table = |draw: &'_ Vec<TaskGradient>| match draw[task].0.get(name) {
                Some(GradientBlock::Rows(sparse)) => Some(sparse.clone()),
                _ => None,
            };
            Some([kernel(&table(a)?, &table(b)?), kernel(&table(c)?, &table(d)?)])
        })
        .collect();
    for i in 0..kernels.len() {
        for j in i + 1..kernels.len() {
            let (Some(first), Some(second)) = (&kernels[i], &kernels[j]) else { continue };
            let halves = |diagonal: bool| -> Option<Halves> {
                let cosine = |x: &Kernel, y: &Kernel| {
                    let cosine = product(x, y, diagonal) / (product(x, x, diagonal) * product(y, y, diagonal)).sqrt();
                    cosine.is_finite().then_some(cosine)
                };
                let mut between = 0.;
                for x in first {
                    for y in second {
                        between += cosine(x, y)? / 4.;
                    }
                }
                Some(Halves { between, first: cosine(&first[0], &first[1])?, second: cosine(&second[0], &second[1])? })
            };
            if let (Some(places), Some(patterns)) = (halves(true), halves(false)) {
                found.insert((i, j), RowStatistics { places, patterns });
            }
        }
    }
    found
}

/// GradientRows that one of the halves did not touch are zero there, and so is the kernel.
fn kernel(a: &SparseRows, b: &SparseRows) -> Kernel {
    let mut ids: Vec<u32> = a.ids.iter().chain(&b.ids).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let row = |of: &SparseRows, id: u32| -> Option<Vec<f64>> {
        let at = of.ids.binary_search(&id).ok()?;
        Some((at * of.width..(at + 1) * of.width).map(|at| Flat::at(&of.rows, at)).collect())
    };
    let (x, y): (Vec<_>, Vec<_>) = ids.iter().map(|&id| (row(a, id), row(b, id))).unzip();
    let dot = |x: &Option<Vec<f64>>, y: &Option<Vec<f64>>| match (x, y) {
        (Some(x), Some(y)) => x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>(),
        _ => 0.,
    };
    let count = ids.len();
    let entry = |at: usize| 0.5 * (dot(&x[at / count], &y[at % count]) + dot(&x[at % count], &y[at / count]));
    Kernel { values: (0..count * count).map(entry).collect(), ids }
}

/// ⟨x, y⟩ over the rows that both have, of the diagonals alone or of everything.
fn product(x: &Kernel, y: &Kernel, diagonal: bool) -> f64 {
    let common: Vec<(usize, usize)> =
        (x.ids.iter().enumerate()).filter_map(|(at, id)| Some((at, y.ids.binary_search(id).ok()?))).collect();
    let entry =
        |(a, b): (usize, usize), (c, d): (usize, usize)| x.values[a * x.ids.len() + c] * y.values[b * y.ids.len() + d];
    match diagonal {
        true => common.iter().map(|&at| entry(at, at)).sum(),
        false => common
            .iter()
            .flat_map(|&row| common.iter().map(move |&column| (row, column)))
            .map(|(r, c)| entry(r, c))
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ids: &[u32], rows: &[f64]) -> TaskGradient {
        let sparse = SparseRows { width: 2, ids: ids.to_vec(), rows: Flat::F64(rows.to_vec()) };
        TaskGradient([("words".to_string(), GradientBlock::Rows(sparse))].into())
    }

    /// Four words: one task tells the first two from the others, the second one too but reads another direction, the
    /// third one tells even from odd, the last one has other words.
    #[test]
    fn opposed_distinctions_of_the_same_words_are_in_conflict() {
        let ids = [0, 1, 2, 3];
        let draw = vec![
            row(&ids, &[1., 0., 1., 0., -1., 0., -1., 0.]),
            row(&ids, &[0., 2., 0., 2., 0., -2., 0., -2.]),
            row(&ids, &[0., 1., 0., -1., 0., 1., 0., -1.]),
            row(&[7, 8], &[1., 1., -1., -1.]),
        ];
        let mini_batches = vec![draw; 4];
        let found = row_statistics(&mini_batches, "words");
        let of = |i, j| (found[&(i, j)].places.between, found[&(i, j)].patterns.between);
        let near = |x: (f64, f64), y: (f64, f64)| (x.0 - y.0).abs() + (x.1 - y.1).abs() < 1e-12;
        assert!(near(of(0, 1), (1., 1.)) && near(of(0, 2), (1., 0.)) && near(of(0, 3), (0., 0.)));
        assert!(
            row_statistics(&mini_batches[..3], "words").is_empty()
                && row_statistics(&mini_batches, "layer.0").is_empty()
        );
    }
}
