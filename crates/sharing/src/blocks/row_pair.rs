//! What two tasks demand of the rows of a table, from the sums of their gradients over blocks of steps.

use std::collections::BTreeMap;

/// Rows of a table by their places, each of the table's width.
pub(crate) type Rows = BTreeMap<u32, Vec<f32>>;

/// Rows that a task moves most are compared, at most so many.
const MOST: usize = 1024;
/// A score of no more than this says nothing.
const LEAST: f64 = 0.05;

/// What was found of a pair of tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// ω, in [0, 1]: whether they move the same rows.
    pub(crate) overlap: f64,
    /// κ, in [0, 1]: whether they want the same rows moved alike.
    pub(crate) agreement: f64,
    /// κ − ω/3.
    pub(crate) score: f64,
    /// Its standard error, by the jackknife over blocks of steps.
    pub(crate) error: f64,
}

impl Verdict {
    /// The score beyond its standard error, if that says anything.
    pub(crate) fn counts(&self) -> f64 {
        let beyond = self.score.abs() - self.error;
        if beyond > LEAST { self.score.signum() * beyond } else { 0. }
    }
}

/// The verdict on two tasks, given each one's sums by block; none with fewer than two blocks of both, or where one of
/// them moves nothing.
pub(crate) fn verdict(first: &[Option<&Rows>], second: &[Option<&Rows>]) -> Option<Verdict> {
    let blocks: Vec<(&Rows, &Rows)> = first.iter().zip(second).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
    if blocks.len() < 2 {
        return None;
    }
    let of = |skipped: Option<usize>| {
        let kept = || blocks.iter().enumerate().filter(move |(at, _)| Some(*at) != skipped).map(|(_, rows)| rows);
        compared(&sum(kept().map(|rows| rows.0)), &sum(kept().map(|rows| rows.1)))
    };
    let score = |(overlap, agreement): (f64, f64)| agreement - overlap / 3.;
    let (overlap, agreement) = of(None)?;
    let without: Vec<f64> = (0..blocks.len()).map(|at| of(Some(at)).map(score)).collect::<Option<_>>()?;
    let count = without.len() as f64;
    let mean = without.iter().sum::<f64>() / count;
    let spread: f64 = without.iter().map(|value| (value - mean).powi(2)).sum();
    let error = ((count - 1.) / count * spread).sqrt();
    Some(Verdict { overlap, agreement, score: score((overlap, agreement)), error })
}

fn sum<'a>(blocks: impl Iterator<Item = &'a Rows>) -> Rows {
    let mut sum = Rows::new();
    for (id, row) in blocks.flatten() {
        let into = sum.entry(*id).or_insert_with(|| vec![0.; row.len()]);
        into.iter_mut().zip(row).for_each(|(into, value)| *into += value);
    }
    if sum.len() > MOST {
        let mut order: Vec<(u32, f64)> = sum.iter().map(|(id, row)| (*id, square(row))).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        order.iter().skip(MOST).for_each(|(id, _)| drop(sum.remove(id)));
    }
    sum
}

fn square(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(*value).powi(2)).sum()
}

/// ω and κ: ⟨G·Gᵀ, H·Hᵀ⟩ is ‖Gᵀ·H‖², so no kernel is ever made.
fn compared(first: &Rows, second: &Rows) -> Option<(f64, f64)> {
    let places =
        |a: &Rows, b: &Rows| -> f64 { a.iter().filter_map(|(id, row)| Some(square(row) * square(b.get(id)?))).sum() };
    let cosine = |of: &dyn Fn(&Rows, &Rows) -> f64| of(first, second) / (of(first, first) * of(second, second)).sqrt();
    let (overlap, agreement) = (cosine(&places), cosine(&product));
    (overlap.is_finite() && agreement.is_finite()).then_some((overlap, agreement))
}

/// ‖Gᵀ·H‖² over the rows that both have.
fn product(first: &Rows, second: &Rows) -> f64 {
    let Some(width) = first.values().next().map(Vec::len) else { return 0. };
    let mut matrix = vec![0f32; width * width];
    for (id, row) in first {
        let Some(other) = second.get(id) else { continue };
        for (value, line) in row.iter().zip(matrix.chunks_exact_mut(width)) {
            line.iter_mut().zip(other).for_each(|(into, other)| *into += value * other);
        }
    }
    matrix.iter().map(|value| f64::from(*value).powi(2)).sum()
}
