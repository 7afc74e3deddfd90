//! The paired t test: t = d̄ / (s_d / √n) against Student's distribution with n − 1 degrees of freedom.
//!
//! "Student", "The probable error of a mean" (Biometrika 1908).

use anyhow::Result;

use super::special::student_beyond;
use super::ties::all_tie;
use super::{TestResult, finite, mean, result, scaled, variance};

/// Whether paired `differences` have mean 0. Fewer than two, or all zero: p = 1. All equal (within 1e-10) and not zero:
/// p = 0, with the largest finite statistic for the infinite one; see [`TestResult::is_certain`].
///
/// # Errors
/// If a difference is not finite.
pub fn paired_t(differences: &[f64]) -> Result<TestResult> {
    const TEST: &str = "paired t";
    finite(TEST, differences)?;
    let differences = scaled(differences);
    let n = differences.len();
    let mean = mean(&differences);
    if n < 2 || differences.iter().all(|difference| *difference == 0.) {
        return Ok(result(TEST, 0., 1., if n < 2 { 1. } else { 0. }, n));
    }
    let t = mean / (variance(&differences) / n as f64).sqrt();
    if !t.is_finite() || all_tie(&differences) {
        return Ok(result(TEST, f64::MAX.copysign(mean), 0., 0., n).towards(mean));
    }
    Ok(result(TEST, t, student_beyond(t, n as f64 - 1.), 0., n).towards(mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_samples_have_an_answer() {
        assert_eq!(paired_t(&[]).expect("finite").p, 1.);
        assert_eq!(paired_t(&[3.]).expect("finite").p, 1.);
        assert_eq!(paired_t(&[0., 0., 0.]).expect("finite").p, 1.);
        let sure = paired_t(&[-0.5, -0.5]).expect("finite");
        let noisy = paired_t(&[0.1, 0.1, 0.1]).expect("finite");
        assert_eq!((noisy.statistic, noisy.p), (f64::MAX, 0.));
        assert_eq!((sure.statistic, sure.p, sure.direction()), (-f64::MAX, 0., "worse"));
        // Equal but for the last bits, which are no spread.
        let noisy = paired_t(&[0.9 - 0.8, 0.3 - 0.2, 0.7 - 0.6]).expect("finite");
        assert!(noisy.is_certain() && noisy.direction() == "better", "{noisy}");
    }
}
