//! An interval about an estimate: estimate ± t·se, with Student's t.

use serde::{Deserialize, Serialize};

use super::special::{student_beyond, student_quantile};
use super::{deviation, mean};

/// An estimate, its interval, and the test of its being 0, which rejects at 1 − `confidence` just where the interval
/// excludes 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Coverage.
    pub confidence: f64,
    /// Standard error of the estimate.
    pub standard_error: f64,
    /// Degrees of freedom of the reference distribution.
    pub degrees: f64,
    /// Two-sided p of the estimate being 0; no smallest attainable one, for the reference is continuous.
    pub p: f64,
    /// Examples (or draws) resampled.
    pub examples: usize,
    /// Seeds compared; with one, the interval speaks of examples alone.
    pub seeds: usize,
}

impl Interval {
    /// Student's interval of the mean of `values`, one a seed: it says nothing of other examples than those that the
    /// values are of. None for fewer than two values, or one that is not finite.
    pub fn of_mean(values: &[f64], confidence: f64) -> Option<Self> {
        let count = values.len();
        let error = deviation(values) / (count as f64).sqrt();
        let finite = values.iter().all(|value| value.is_finite());
        (count > 1 && finite).then(|| Self::student(mean(values), error, count as f64 - 1., confidence, 0, count))
    }

    /// The interval of an estimate whose standard error has so many degrees of freedom.
    pub(crate) fn student(
        estimate: f64,
        standard_error: f64,
        degrees: f64,
        confidence: f64,
        examples: usize,
        seeds: usize,
    ) -> Self {
        let p = match (estimate == 0., standard_error > 0.) {
            (true, _) => 1.,
            (false, true) => student_beyond(estimate / standard_error, degrees),
            (false, false) if estimate.is_nan() || standard_error.is_nan() => f64::NAN,
            (false, false) => 0.,
        };
        let half = student_quantile(1. - confidence, degrees) * standard_error;
        let (low, high) = (estimate - half, estimate + half);
        Self { estimate, low, high, confidence, standard_error, degrees, p, examples, seeds }
    }

    /// The interval of as many times the estimate; ends stay finite.
    pub(crate) fn times(self, unit: f64) -> Self {
        let times = |value: f64| (value * unit).clamp(-f64::MAX, f64::MAX);
        Self {
            estimate: times(self.estimate),
            low: times(self.low),
            high: times(self.high),
            standard_error: times(self.standard_error),
            ..self
        }
    }

    /// The smallest effect that a test at `level` with this standard error finds with power 0.8:
    /// (t₁₋ₗₑᵥₑₗ⁄₂ + t₀.₈)·se, with z for t where degrees of freedom are many. 0 without a standard error.
    ///
    /// Bloom, "Minimum detectable effects" (Evaluation Review 1995).
    pub fn detectable(&self, level: f64) -> f64 {
        // Both are quantiles of |t|, which is beyond its 0.6-quantile as often as t is beyond its 0.8-quantile.
        (student_quantile(level, self.degrees) + student_quantile(0.4, self.degrees)) * self.standard_error
    }

    /// Two-sided p of the estimate being `bound`, where it lies above; 1 where it does not. It is below 1 − `confidence`
    /// just where the interval's lower end is above `bound`.
    pub fn p_above(&self, bound: f64) -> f64 {
        let distance = self.estimate - bound;
        match (distance > 0., self.standard_error > 0.) {
            (true, true) => student_beyond(distance / self.standard_error, self.degrees),
            (true, false) if self.standard_error == 0. => 0.,
            // Not above, or not a number.
            _ => 1.,
        }
    }

    /// The interval of the same estimate with another coverage.
    pub fn with_confidence(&self, confidence: f64) -> Self {
        let Self { estimate, standard_error, degrees, examples, seeds, .. } = *self;
        Self::student(estimate, standard_error, degrees, confidence, examples, seeds)
    }

    /// Whether the interval excludes 0.
    pub fn excludes_zero(&self) -> bool {
        self.low > 0. || self.high < 0.
    }
}

#[cfg(test)]
mod tests {
    use super::super::paired_t;
    use super::*;

    /// Of 1, 2, 3, 4: mean 2.5, se √(5/3)/2 = 0.645497, and t₀.₉₇₅ with 3 degrees 3.182446.
    #[test]
    fn the_interval_of_a_mean_is_the_textbooks() {
        let found = Interval::of_mean(&[1., 2., 3., 4.], 0.95).expect("four values");
        assert!((found.estimate - 2.5).abs() < 1e-12 && (found.low - 0.445_739_743).abs() < 1e-6, "{found:?}");
        assert!((found.high - 4.554_260_257).abs() < 1e-6 && found.seeds == 4 && found.excludes_zero());
        let p = paired_t(&[1., 2., 3., 4.]).expect("finite").p;
        assert!((found.p - p).abs() < 1e-12, "{} {p}", found.p);
        // A bound is rejected just where the lower end lies above it.
        assert!((found.p_above(found.low) - 0.05).abs() < 1e-9 && found.p_above(2.5) == 1. && found.p_above(9.) == 1.);
        assert!((found.p_above(0.) - found.p).abs() < 1e-12);
        assert_eq!(found.with_confidence(0.95), found);
        assert!(found.with_confidence(0.9).low > found.low);
        assert!(Interval::of_mean(&[1.], 0.95).is_none() && Interval::of_mean(&[1., f64::NAN], 0.95).is_none());
    }
}
