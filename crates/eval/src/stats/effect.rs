//! How large a difference is, beside how sure: d_z = d̄ / s_d, and δ = P(x > y) − P(x < y).
//!
//! Cohen, "Statistical power analysis for the behavioral sciences" (1988); Cliff, "Dominance statistics"
//! (Psychological Bulletin 1993).

use anyhow::Result;

use super::ties::all_tie;
use super::{finite, mean, scaled, variance};

/// Cohen's d of paired differences. Differences that are all zero have effect 0; all equal (within 1e-10) and not zero,
/// the largest finite one.
///
/// # Errors
/// If a difference is not finite.
pub fn cohens_dz(differences: &[f64]) -> Result<f64> {
    finite("Cohen's d", differences)?;
    let differences = scaled(differences);
    let mean = mean(&differences);
    if mean == 0. {
        return Ok(0.);
    }
    let effect = mean / variance(&differences).sqrt();
    Ok(if effect.is_finite() && !all_tie(&differences) { effect } else { f64::MAX.copysign(mean) })
}

/// Cliff's delta of two samples, in [−1, 1]; positive if `first` tends to be larger. 0 if either is empty.
///
/// # Errors
/// If a value is not finite.
pub fn cliffs_delta(first: &[f64], second: &[f64]) -> Result<f64> {
    finite("Cliff's delta", first)?;
    finite("Cliff's delta", second)?;
    let mut sorted = second.to_vec();
    sorted.sort_by(f64::total_cmp);
    let won: f64 = first
        .iter()
        .map(|x| sorted.partition_point(|y| y < x) as f64 + sorted.partition_point(|y| y <= x) as f64)
        .sum();
    let pairs = (first.len() * second.len()) as f64;
    Ok(if pairs == 0. { 0. } else { won / pairs - 1. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_of_the_extremes() {
        assert_eq!(cliffs_delta(&[3., 4.], &[1., 2.]).expect("finite"), 1.);
        assert_eq!(cliffs_delta(&[1., 2.], &[1., 2.]).expect("finite"), 0.);
        assert_eq!(cliffs_delta(&[], &[1.]).expect("finite"), 0.);
        assert_eq!(cohens_dz(&[1., -1.]).expect("finite"), 0.);
        assert_eq!(cohens_dz(&[-2., -2.]).expect("finite"), -f64::MAX);
        assert_eq!(cohens_dz(&[0.9 - 0.8, 0.3 - 0.2]).expect("finite"), f64::MAX);
        assert!((cohens_dz(&[1., 2., 3.]).expect("finite") - 2.).abs() < 1e-12);
    }
}
