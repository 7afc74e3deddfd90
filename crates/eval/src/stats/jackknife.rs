//! The jackknife over blocks of consecutive observations: V = (m − 1) / m · Σⱼ (θ₍ⱼ₎ − θ̄)² over the m estimates that
//! leave one block out.
//!
//! Künsch 1989 for blocks. The reference is Student's t with m − 1 degrees of freedom.

use super::{Interval, mean};

/// `estimate` over all observations in order, with its interval from leaving out each of about √n blocks.
///
/// `None` if there are fewer than 4 observations or `estimate` gives none, or none that is finite, on all of them or
/// without some block.
pub(crate) fn jackknife<T: Clone>(
    observations: &[T],
    confidence: f64,
    estimate: impl Fn(&[T]) -> Option<f64>,
) -> Option<Interval> {
    let count = observations.len();
    if count < 4 {
        return None;
    }
    let blocks = ((count as f64).sqrt().ceil() as usize).max(4);
    let left_out = (0..blocks)
        .map(|block| {
            let (from, to) = (block * count / blocks, (block + 1) * count / blocks);
            estimate(&[&observations[..from], &observations[to..]].concat()).filter(|left| left.is_finite())
        })
        .collect::<Option<Vec<f64>>>()?;
    let estimate = estimate(observations).filter(|estimate| estimate.is_finite())?;
    let centre = mean(&left_out);
    let squares: f64 = left_out.iter().map(|left| (left - centre).powi(2)).sum();
    let degrees = blocks as f64 - 1.;
    let standard_error = (degrees / blocks as f64 * squares).sqrt();
    Some(Interval::student(estimate, standard_error, degrees, confidence, count, 1))
}
