//! Holm's correction for m tests: the i-th smallest p becomes maxⱼ≤ᵢ (m − j + 1)·p₍ⱼ₎, at most 1.
//!
//! Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal of Statistics 1979).

use anyhow::{Result, bail};

use super::finite;

/// The corrected p of each test, in the given order. The smallest attainable p grows m-fold too.
///
/// # Errors
/// If a p is no probability.
pub fn holm(p: &[f64]) -> Result<Vec<f64>> {
    finite("Holm's correction", p)?;
    if let Some(test) = p.iter().position(|p| !(0. ..=1.).contains(p)) {
        bail!("Holm's correction: p {} of {} is {}, not in [0, 1]", test + 1, p.len(), p[test]);
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.; p.len()];
    let mut largest = 0f64;
    for (place, &test) in order.iter().enumerate() {
        largest = largest.max(p[test] * (p.len() - place) as f64).min(1.);
        corrected[test] = largest;
    }
    Ok(corrected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_pays_most_and_order_is_kept() {
        assert_eq!(holm(&[0.5, 0.01, 0.25, 0.9]).expect("probabilities"), [1., 0.04, 0.75, 1.]);
        assert!(holm(&[]).expect("none").is_empty());
    }
}
