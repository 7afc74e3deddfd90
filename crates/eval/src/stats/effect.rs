//! How large a difference is, beside how sure: d_z = d̄ / s_d, and δ = P(x > y) − P(x < y).
//!
//! Cohen, "Statistical power analysis for the behavioral sciences" (1988); Cliff, "Dominance statistics"
//! (Psychological Bulletin 1993).

use super::{mean, variance};

/// Cohen's d of paired differences. Differences that are all zero have effect 0; all equal and not zero, the largest
/// finite one.
pub fn cohens_dz(differences: &[f64]) -> f64 {
    let mean = mean(differences);
    if mean == 0. {
        return 0.;
    }
    let effect = mean / variance(differences).sqrt();
    if effect.is_finite() { effect } else { f64::MAX.copysign(mean) }
}

/// Cliff's delta of two samples, in [−1, 1]; positive if `first` tends to be larger. 0 if either is empty.
pub fn cliffs_delta(first: &[f64], second: &[f64]) -> f64 {
    let mut sorted = second.to_vec();
    sorted.sort_by(f64::total_cmp);
    let won: f64 = first
        .iter()
        .map(|x| sorted.partition_point(|y| y < x) as f64 + sorted.partition_point(|y| y <= x) as f64)
        .sum();
    let pairs = (first.len() * second.len()) as f64;
    if pairs == 0. { 0. } else { won / pairs - 1. }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_of_the_extremes() {
        assert_eq!(cliffs_delta(&[3., 4.], &[1., 2.]), 1.);
        assert_eq!(cliffs_delta(&[1., 2.], &[1., 2.]), 0.);
        assert_eq!(cliffs_delta(&[], &[1.]), 0.);
        assert_eq!(cohens_dz(&[1., -1.]), 0.);
        assert_eq!(cohens_dz(&[-2., -2.]), -f64::MAX);
        assert!((cohens_dz(&[1., 2., 3.]) - 2.).abs() < 1e-12);
    }
}
