//! What keeps rank tests from ranking the noise of floating-point sums.

/// Two values tie if they differ by no more than this share of the larger. Means of the same scores in another order
/// differ by about 1e-15 of them, differences of such means by up to about 1e-11 of the difference; what a test set can
/// tell apart is coarser by far.
const SHARE: f64 = 1e-10;

/// `values` with those that tie made equal, to the smallest of them. They have to be finite.
pub(super) fn tied(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut tied = values.to_vec();
    let mut smallest = f64::NAN;
    for index in order {
        let value = values[index];
        // Measured from the first of a group, so that no chain of near values grows into one.
        let near = value == smallest || value - smallest <= SHARE * value.abs().max(smallest.abs());
        if !near {
            smallest = value;
        }
        tied[index] = smallest;
    }
    tied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_its_last_bits_ties_and_nothing_else() {
        assert_eq!(tied(&[0.1 + 0.2, 0.3, 0.30001]), [0.3, 0.3, 0.30001]);
        assert_eq!(
            tied(&[-0.3, -(0.1 + 0.2), 0., -0., 5e-324, 1e-323]),
            [-0.30000000000000004, -0.30000000000000004, 0., 0., 5e-324, 1e-323]
        );
        assert_eq!(tied(&[1e20, 1., 2., 1. + 1e-9]), [1e20, 1., 2., 1. + 1e-9]);
        assert_eq!(tied(&[f64::MAX, -f64::MAX, 1.]), [f64::MAX, -f64::MAX, 1.]);
        // Each within reach of the next, the last not of the first.
        assert_eq!(tied(&[1., 1. + 0.8e-10, 1. + 1.6e-10]), [1., 1., 1. + 1.6e-10]);
    }
}
