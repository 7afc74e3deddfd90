//! Inner products of task gradients, part by part, and gradients as a weighting rule reads them.

use std::collections::{BTreeMap, BTreeSet};

use mtl_backbone::{Flat, GradientBlock, SparseRows, TaskGradient};
use mtl_nash::Gram;
use mtl_weighting::Jacobian;
use rayon::prelude::*;

use crate::optim::WeightedSum;

/// Elements a chunk: fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// The K×K inner products of `rows` over each parameter of `names`, accumulated in f64. A task that does not reach a
/// parameter has gradient 0 there.
pub fn grams(rows: &[&TaskGradient], names: &BTreeSet<String>) -> BTreeMap<String, Gram> {
    names
        .iter()
        .map(|name| {
            let segments: Vec<Option<&GradientBlock>> = rows.iter().map(|row| row.0.get(name)).collect();
            (name.clone(), gram(&segments))
        })
        .collect()
}

/// The blocks of `gradient` that are kept by rows: those of tables, such as the word vectors.
pub(crate) fn tables_of(gradient: &TaskGradient) -> TaskGradient {
    let by_rows = gradient.0.iter().filter(|(_, block)| matches!(block, GradientBlock::Rows(_)));
    TaskGradient(by_rows.map(|(name, block)| (name.clone(), block.clone())).collect())
}

/// The sum of `parts`, all over as many tasks as `tasks`.
pub fn total<'a>(tasks: usize, parts: impl Iterator<Item = &'a Gram>) -> Gram {
    let mut sum = vec![0.; tasks * tasks];
    for part in parts {
        (0..tasks * tasks).for_each(|at| sum[at] += part.at(at / tasks, at % tasks));
    }
    Gram::new(tasks, sum)
}

pub(crate) fn gram(segments: &[Option<&GradientBlock>]) -> Gram {
    let tasks = segments.len();
    let mut entries = vec![0.; tasks * tasks];
    let mut add = |i: usize, j: usize, product: f64| {
        entries[i * tasks + j] += product;
        if i != j {
            entries[j * tasks + i] += product;
        }
    };
    let present: Vec<usize> = (0..tasks).filter(|&task| segments[task].is_some()).collect();
    let dense =
        |task: usize| segments[task].and_then(|s| if let GradientBlock::Dense(flat) = s { Some(flat) } else { None });
    let length = present.iter().filter_map(|&task| dense(task)).map(Flat::len).max().unwrap_or(0);
    // All rows of a chunk are read while it is in the cache: one pass over memory, whatever the number of pairs.
    let chunks: Vec<Vec<f64>> = (0..length.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let range = chunk * CHUNK..length.min((chunk + 1) * CHUNK);
            pairs(&present).map(|(i, j)| dense(i).zip(dense(j)).map_or(0., |(a, b)| dot(a, b, range.clone()))).collect()
        })
        .collect();
    for chunk in chunks {
        pairs(&present).zip(chunk).for_each(|((i, j), product)| add(i, j, product));
    }
    for (i, j) in pairs(&present) {
        if let (Some(GradientBlock::Rows(a)), Some(GradientBlock::Rows(b))) = (segments[i], segments[j]) {
            add(i, j, sparse(a, b));
        }
    }
    Gram::new(tasks, entries)
}

fn pairs(tasks: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    tasks.iter().enumerate().flat_map(|(at, &i)| tasks[..=at].iter().map(move |&j| (i, j)))
}

fn sparse(a: &SparseRows, b: &SparseRows) -> f64 {
    let (mut i, mut j, mut sum) = (0, 0, 0.);
    let width = a.width;
    while i < a.ids.len() && j < b.ids.len() {
        match a.ids[i].cmp(&b.ids[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                sum += match (&a.rows, &b.rows) {
                    (Flat::F32(a), Flat::F32(b)) => dot_f32(&a[i * width..][..width], &b[j * width..][..width]),
                    (Flat::F64(a), Flat::F64(b)) => dot_f64(&a[i * width..][..width], &b[j * width..][..width]),
                    _ => f64::NAN,
                };
                i += 1;
                j += 1;
            }
        }
    }
    sum
}

fn dot(a: &Flat, b: &Flat, range: std::ops::Range<usize>) -> f64 {
    match (a, b) {
        (Flat::F32(a), Flat::F32(b)) => dot_f32(&a[range.clone()], &b[range]),
        (Flat::F64(a), Flat::F64(b)) => dot_f64(&a[range.clone()], &b[range]),
        _ => f64::NAN,
    }
}

/// Products in f32 lanes over 512 elements at a time, their sums in f64.
fn dot_f32(a: &[f32], b: &[f32]) -> f64 {
    let block = |a: &[f32], b: &[f32]| {
        let mut lanes = [0f32; 16];
        let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
        let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
        for (x, y) in a_chunks.zip(b_chunks) {
            for lane in 0..16 {
                lanes[lane] += x[lane] * y[lane];
            }
        }
        lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest)
    };
    a.chunks(512).zip(b.chunks(512)).map(|(a, b)| block(a, b)).sum()
}

fn dot_f64(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Task gradients over the parameters `names`, laid end to end, as rules over the Jacobian read them.
pub struct GradientRows<'a> {
    rows: &'a [&'a TaskGradient],
    /// Each parameter's name and first column.
    starts: Vec<(&'a str, usize)>,
    columns: usize,
}

impl<'a> GradientRows<'a> {
    /// `rows` over the parameters `lengths`, by name.
    pub fn new(rows: &'a [&'a TaskGradient], lengths: &'a BTreeMap<String, usize>) -> Self {
        let mut columns = 0;
        let starts = lengths
            .iter()
            .map(|(name, length)| {
                columns += length;
                (name.as_str(), columns - length)
            })
            .collect();
        Self { rows, starts, columns }
    }

    /// The parameter that holds column `column`, its first column, and the column behind its last.
    pub fn parameter(&self, column: usize) -> (&'a str, usize, usize) {
        let at = self.starts.partition_point(|(_, start)| *start <= column).saturating_sub(1);
        let end = self.starts.get(at + 1).map_or(self.columns, |(_, start)| *start);
        (self.starts[at].0, self.starts[at].1, end)
    }
}

impl Jacobian for GradientRows<'_> {
    fn tasks(&self) -> usize {
        self.rows.len()
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn read(&self, task: usize, start: usize, into: &mut [f64]) {
        into.fill(0.);
        let mut done = 0;
        while done < into.len() {
            let (name, first, end) = self.parameter(start + done);
            let count = (end - start - done).min(into.len() - done);
            let offset = start + done - first;
            if let Some(segment) = self.rows[task].0.get(name) {
                copy(segment, offset, &mut into[done..done + count]);
            }
            done += count;
        }
    }
}

/// Elements `offset..` of a segment; `into` holds zeros.
fn copy(segment: &GradientBlock, offset: usize, into: &mut [f64]) {
    match segment {
        GradientBlock::Dense(flat) => into.iter_mut().enumerate().for_each(|(at, to)| *to = flat.at(offset + at)),
        GradientBlock::Rows(sparse) => {
            let (width, end) = (sparse.width, offset + into.len());
            let first = sparse.ids.partition_point(|&id| (id as usize + 1) * width <= offset);
            for (position, &id) in sparse.ids.iter().enumerate().skip(first) {
                let row = id as usize * width;
                if row >= end {
                    break;
                }
                for column in row.max(offset)..(row + width).min(end) {
                    into[column - offset] = sparse.rows.at(position * width + column - row);
                }
            }
        }
    }
}

/// ‖Σ w·g‖² of what is blended.
pub(crate) fn squared_norm(blend: &WeightedSum) -> f64 {
    let segments: Vec<Option<&GradientBlock>> = blend.0.iter().map(|(_, segment)| Some(*segment)).collect();
    let weights: Vec<f64> = blend.0.iter().map(|(weight, _)| *weight).collect();
    gram(&segments).quadratic(&weights).max(0.)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dense: &[f32], ids: &[u32], rows: &[f32]) -> TaskGradient {
        let sparse = SparseRows { width: 2, ids: ids.to_vec(), rows: Flat::F32(rows.to_vec()) };
        TaskGradient(
            [
                ("a".to_string(), GradientBlock::Dense(Flat::F32(dense.to_vec()))),
                ("words".to_string(), GradientBlock::Rows(sparse)),
            ]
            .into(),
        )
    }

    #[test]
    fn sparse_and_dense_gradients_give_one_gram_and_one_jacobian() {
        let rows = [row(&[1., 2., 3.], &[0, 2], &[1., 1., 2., 0.]), row(&[0., 1., -1.], &[2, 3], &[5., 5., 7., 7.])];
        let names: BTreeSet<String> = ["a".to_string(), "words".to_string()].into();
        let rows: Vec<&TaskGradient> = rows.iter().collect();
        let parts = grams(&rows, &names);
        let sum = total(2, parts.values());
        let lengths: BTreeMap<String, usize> = [("a".to_string(), 3), ("words".to_string(), 8)].into();
        let jacobian = GradientRows::new(&rows, &lengths);
        let mut dense = [[0.; 11], [0.; 11]];
        // Read in pieces that cross the border between parameters and between rows.
        for (task, row) in dense.iter_mut().enumerate() {
            for (at, piece) in row.chunks_mut(4).enumerate() {
                jacobian.read(task, 4 * at, piece);
            }
        }
        assert_eq!(dense[1], [0., 1., -1., 0., 0., 0., 0., 5., 5., 7., 7.]);
        for i in 0..2 {
            for j in 0..2 {
                let expected: f64 = dense[i].iter().zip(&dense[j]).map(|(x, y)| x * y).sum();
                assert!((sum.at(i, j) - expected).abs() < 1e-12);
            }
        }
    }
}
