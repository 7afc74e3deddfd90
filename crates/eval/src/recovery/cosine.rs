//! The cosine of two tasks' true gradients, from noisy ones: ρ = c̄ᵢⱼ / √(r̄ᵢ·r̄ⱼ).
//!
//! A gradient of a half-batch is signal plus noise, and noise pulls every cosine towards 0. With two half-batches A, B
//! a task, c = mean over the cross halves of cos(gᵢ, gⱼ) and rᵢ = cos(gᵢᴬ, gᵢᴮ), which noise shrinks by the same
//! factors; their ratio is free of it (Spearman, "The proof and measurement of association between two things", 1904).
//! Draws of neighbouring steps are alike, so the interval is a jackknife over blocks of consecutive draws
//! (Künsch, "The jackknife and the bootstrap for general stationary observations", 1989).

use serde::{Deserialize, Serialize};

use crate::stats::{Interval, jackknife};

/// What one draw says of a pair of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Halves {
    /// Mean cosine between the halves of one task and those of the other.
    pub between: f64,
    /// Cosine between the first task's halves.
    pub first: f64,
    /// Cosine between the second task's halves.
    pub second: f64,
}

/// The corrected cosine over draws in order, with its interval. It may leave [−1, 1], as an unbiased estimate must.
///
/// `None` if there are fewer than 4 draws, a value that is not finite, or if a task's halves agree less than `reliability` (such as 0.05) on
/// average, over all draws or without some block of them: then noise is all there is.
pub fn corrected_cosine(draws: &[Halves], reliability: f64, confidence: f64) -> Option<Interval> {
    jackknife(draws, confidence, |draws| corrected(draws, reliability))
}

/// How much two tasks are in conflict over the rows that both move: ω − κ, from draws in order of their agreement on where to move (ω, such as the
/// cosine of row energies) and on which rows to move alike (κ, such as that of row kernels), each freed of noise as in
/// [`corrected_cosine`]. About 1: the same rows, in patterns that have nothing to do with each other; about 0: other
/// rows, or the same pattern.
///
/// `None` as for [`corrected_cosine`].
///
/// # Panics
/// If there are not as many draws of one as of the other.
pub fn row_conflict(places: &[Halves], patterns: &[Halves], reliability: f64, confidence: f64) -> Option<Interval> {
    assert_eq!(places.len(), patterns.len(), "one draw of both");
    let draws: Vec<(Halves, Halves)> = places.iter().copied().zip(patterns.iter().copied()).collect();
    let estimate = |draws: &[(Halves, Halves)]| {
        let (places, patterns): (Vec<Halves>, Vec<Halves>) = draws.iter().copied().unzip();
        Some(corrected(&places, reliability)? - corrected(&patterns, reliability)?)
    };
    jackknife(&draws, confidence, estimate)
}

/// c̄ / √(r̄ᵢ·r̄ⱼ), where both tasks' halves agree.
fn corrected(draws: &[Halves], reliability: f64) -> Option<f64> {
    let mean = |part: fn(&Halves) -> f64| draws.iter().map(part).sum::<f64>() / draws.len() as f64;
    let (first, second) = (mean(|draw| draw.first), mean(|draw| draw.second));
    let reliable = first.min(second) >= reliability.max(f64::MIN_POSITIVE);
    reliable.then(|| mean(|draw| draw.between) / (first * second).sqrt())
}

/// The mean of `values`, one a draw and in order, with an interval that allows for neighbouring draws being alike.
/// `None` if there are fewer than 4, or one that is not finite.
pub fn mean_over_draws(values: &[f64], confidence: f64) -> Option<Interval> {
    jackknife(values, confidence, |values| Some(values.iter().sum::<f64>() / values.len() as f64))
}

#[cfg(test)]
mod tests {
    use mtl_task::rng::Key;

    use super::*;

    /// Draws of two tasks in `SIZE` dimensions whose true gradients have cosine `truth`, under strong noise.
    fn draws(truth: f64, count: usize, key: Key) -> Vec<Halves> {
        const SIZE: usize = 40;
        let mut stream = key.stream();
        let mut halves = |direction: [f64; 2]| {
            [(); 2].map(|()| -> Vec<f64> {
                (0..SIZE).map(|i| direction.get(i).map_or(0., |d| 3. * d) + stream.normal() * 0.6).collect()
            })
        };
        let cosine = |x: &[f64], y: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
        };
        (0..count)
            .map(|_| {
                let (one, two) = (halves([1., 0.]), halves([truth, (1. - truth * truth).sqrt()]));
                let across = |i: usize, j: usize| cosine(&one[i], &two[j]);
                Halves {
                    between: (across(0, 0) + across(0, 1) + across(1, 0) + across(1, 1)) / 4.,
                    first: cosine(&one[0], &one[1]),
                    second: cosine(&two[0], &two[1]),
                }
            })
            .collect()
    }

    #[test]
    fn noise_is_corrected_for_and_the_interval_covers_the_truth() {
        let (mut held, mut raw) = (0, 0.);
        for trial in 0..300 {
            let draws = draws(-0.6, 60, Key::new(4).with(trial));
            raw += draws.iter().map(|draw| draw.between).sum::<f64>() / (60. * 300.);
            let found = corrected_cosine(&draws, 0.05, 0.95).expect("reliable");
            held += usize::from(found.low <= -0.6 && -0.6 <= found.high);
        }
        assert!(raw > -0.4, "the raw cosine is {raw}: there was no noise to correct for");
        assert!((273..=297).contains(&held), "{held} of 300 intervals held the truth");
    }

    #[test]
    fn pure_noise_has_no_cosine() {
        let noise = [Halves { between: 0.1, first: 0.01, second: 0.4 }; 9];
        assert_eq!(corrected_cosine(&noise, 0.05, 0.95), None);
        assert_eq!(corrected_cosine(&noise[..3], 0., 0.95), None);
    }

    #[test]
    fn what_is_not_finite_has_no_interval() {
        let mut draws = [Halves { between: 0.1, first: 0.5, second: 0.4 }; 9];
        draws[4].second = f64::NAN;
        assert_eq!(corrected_cosine(&draws, 0.05, 0.95), None);
        assert_eq!(row_conflict(&draws, &draws, 0.05, 0.95), None);
        assert_eq!(mean_over_draws(&[1., 2., f64::INFINITY, 3., 4.], 0.95), None);
    }
}
