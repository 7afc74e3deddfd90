//! Instability of training: spread over seeds, volatility of a series over steps, divergences.

use crate::stats::deviation;

/// The standard deviation over seeds (unbiased variance); 0 for fewer than two.
pub fn spread(scores: &[f64]) -> f64 {
    deviation(scores)
}

/// How restlessly a series of losses or weights αᵢ moves: √(mean (xₜ₊₁ − xₜ)²) / mean |xₜ|, so that neither a slow
/// trend nor the scale matters much. Values that are not finite are passed over; 0 for fewer than two.
pub fn volatility(series: &[f64]) -> f64 {
    let finite: Vec<f64> = series.iter().copied().filter(|value| value.is_finite()).collect();
    let largest = finite.iter().fold(0., |largest: f64, value| largest.max(value.abs()));
    let unit = if largest == 0. || (1e-100..1e100).contains(&largest) { 1. } else { largest };
    let finite: Vec<f64> = finite.iter().map(|value| value / unit).collect();
    let level = finite.iter().map(|value| value.abs()).sum::<f64>() / finite.len().max(1) as f64;
    let steps: f64 = finite.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).sum();
    if level > 0. && finite.len() > 1 { (steps / (finite.len() - 1) as f64).sqrt() / level } else { 0. }
}

/// How often losses diverged: the times they stopped being finite, and the times their running mean over `window`
/// steps rose to `factor` times the lowest running mean so far. One excursion counts once: the next one begins only
/// after the running mean has come back below.
pub fn divergences(losses: &[f64], window: usize, factor: f64) -> usize {
    let (mut count, mut lowest, mut away) = (0, f64::INFINITY, false);
    let mut recent: Vec<f64> = Vec::new();
    for &loss in losses {
        let diverged = if loss.is_finite() {
            recent.push(loss);
            let kept = &recent[recent.len().saturating_sub(window.max(1))..];
            let mean = kept.iter().sum::<f64>() / kept.len() as f64;
            if recent.len() >= window {
                lowest = lowest.min(mean);
            }
            mean >= factor * lowest
        } else {
            true
        };
        count += usize::from(diverged && !away);
        away = diverged;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restless_series_is_volatile_and_a_constant_one_is_not() {
        assert_eq!(volatility(&[2., 2., 2.]), 0.);
        assert_eq!(volatility(&[1., 3., 1., 3.]), 1.);
        assert_eq!(volatility(&[10., 30., f64::NAN, 10., 30.]), 1.);
        assert_eq!(volatility(&[]), 0.);
        assert!((spread(&[1., 2., 3.]) - 1.).abs() < 1e-12);
        assert_eq!(spread(&[1.]), 0.);
        assert!((spread(&[1e308, -1e308]) / (2f64.sqrt() * 1e308) - 1.).abs() < 1e-12);
        assert!((volatility(&[1e308, 3e307, 1e308]) - volatility(&[10., 3., 10.])).abs() < 1e-12);
        assert_eq!(spread(&[1e-320, 1e-320]), 0.);
    }

    #[test]
    fn each_excursion_counts_once() {
        let calm = [1.; 4];
        let storm = [9.; 4];
        assert_eq!(divergences(&[calm, storm, calm, storm].concat(), 2, 3.), 2);
        assert_eq!(divergences(&[1., f64::NAN, f64::INFINITY, 1., f64::NAN], 2, 3.), 2);
        assert_eq!(divergences(&[4., 3., 2., 1., 1.2, 0.9], 2, 3.), 0);
        assert_eq!(divergences(&[], 2, 3.), 0);
    }
}
