//! Holm's correction for m tests: the i-th smallest p becomes maxⱼ≤ᵢ (m − j + 1)·p₍ⱼ₎, at most 1.
//!
//! Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal of Statistics 1979).

/// The corrected p of each test, in the given order. The smallest attainable p grows m-fold too.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.; p.len()];
    let mut largest = 0f64;
    for (place, &test) in order.iter().enumerate() {
        largest = largest.max(p[test] * (p.len() - place) as f64).min(1.);
        corrected[test] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_pays_most_and_order_is_kept() {
        assert_eq!(holm(&[0.5, 0.01, 0.25, 0.9]), [1., 0.04, 0.75, 1.]);
        assert!(holm(&[]).is_empty());
    }
}
