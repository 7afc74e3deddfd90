//! Euclidean projection onto the probability simplex (CachedWeights, Wolfe and Crowder, 1974).

/// The nearest point with entries ≥ 0 that sum to 1.
pub(crate) fn project(point: &[f64]) -> Vec<f64> {
    // A common shift changes nothing; from the largest entry, no entry can drown the 1.
    let largest = point.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let point: Vec<f64> = point.iter().map(|value| value - largest).collect();
    let mut sorted = point.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut sum = 0.0;
    let mut shift = 0.0;
    for (count, value) in sorted.iter().enumerate() {
        sum += value;
        let candidate = (sum - 1.0) / (count + 1) as f64;
        if *value > candidate {
            shift = candidate;
        }
    }
    let clipped: Vec<f64> = point.iter().map(|value| (value - shift).max(0.0)).collect();
    let total: f64 = clipped.iter().sum();
    clipped.iter().map(|value| value / total).collect()
}

#[cfg(test)]
mod tests {
    use super::project;

    #[test]
    fn points_are_moved_equally_and_cut_at_zero() {
        assert_eq!(project(&[0.25, 0.75]), [0.25, 0.75]);
        assert_eq!(project(&[2.0, 1.5]), [0.75, 0.25]);
        assert_eq!(project(&[3.0, 0.0, -1.0]), [1.0, 0.0, 0.0]);
        assert_eq!(project(&[-1e30, -3e30]), [1.0, 0.0]);
    }
}
