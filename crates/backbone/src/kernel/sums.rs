//! Sums over rows, gathered piece by piece and added up in that order, whoever computed the pieces.

use super::simd::vectorised;
use super::{Buffer, Real};

/// Rows in a piece of work.
pub(super) const ROWS: usize = 32;

/// Column sums under way: one partial sum of `width` columns for each piece of [`ROWS`] rows.
pub(super) struct Sums<T: Real> {
    partial: Buffer<T>,
    width: usize,
}

impl<T: Real> Sums<T> {
    /// Zero sums over `rows` rows.
    pub(super) fn zeros(rows: usize, width: usize) -> Self {
        Self { partial: Buffer::zeros(rows.div_ceil(ROWS) * width), width }
    }

    /// The partial sums, `[pieces, width]`.
    pub(super) fn pieces(&mut self) -> &mut [T] {
        &mut self.partial
    }

    /// Adds columns `first..` to `target`, if there is one.
    pub(super) fn add_to(&self, first: usize, target: Option<&mut [T]>) {
        if let Some(target) = target {
            for piece in self.partial.chunks_exact(self.width) {
                add(target, &piece[first..first + target.len()]);
            }
        }
    }
}

vectorised! {
    /// `to` ← `to` + `from`.
    pub(super) fn add<T: Real>(to: &mut [T], from: &[T]) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
    }
}

/// Independent partial sums, so that a loop over them becomes vector instructions.
const LANES: usize = 16;

/// Σ f(i) over `0..length`, in [`LANES`] interleaved partial sums.
#[inline(always)]
pub(super) fn sum_over<T: Real>(length: usize, f: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::default(); LANES];
    let whole = length / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
        width /= 2;
    }
    (whole..length).fold(lanes[0], |sum, at| sum + f(at))
}
