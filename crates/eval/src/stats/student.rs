//! The paired t test: t = d̄ / (s_d / √n) against Student's distribution with n − 1 degrees of freedom.
//!
//! "Student", "The probable error of a mean" (Biometrika 1908).

use super::special::student_beyond;
use super::{TestResult, mean, result, variance};

/// Whether paired `differences` have mean 0. Fewer than two, or all zero: p = 1. All equal and not zero: p = 0, with
/// the largest finite statistic for the infinite one.
pub fn paired_t(differences: &[f64]) -> TestResult {
    const TEST: &str = "paired t";
    let n = differences.len();
    let mean = mean(differences);
    if n < 2 || differences.iter().all(|difference| *difference == 0.) {
        return result(TEST, 0., 1., if n < 2 { 1. } else { 0. }, n);
    }
    let t = mean / (variance(differences) / n as f64).sqrt();
    if !t.is_finite() {
        return result(TEST, f64::MAX.copysign(mean), 0., 0., n);
    }
    result(TEST, t, student_beyond(t, n as f64 - 1.), 0., n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degenerate_samples_have_an_answer() {
        assert_eq!(paired_t(&[]).p, 1.);
        assert_eq!(paired_t(&[3.]).p, 1.);
        assert_eq!(paired_t(&[0., 0., 0.]).p, 1.);
        let sure = paired_t(&[-0.5, -0.5]);
        assert_eq!((sure.statistic, sure.p), (-f64::MAX, 0.));
    }
}
