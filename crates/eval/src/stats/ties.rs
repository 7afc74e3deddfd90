//! What keeps tests from ranking, and from being sure of, the noise of floating-point sums.

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

/// Whether two finite values tie, as every ranking here takes them to: they differ by no more than 1e-10 of the larger.
pub fn ties(one: f64, other: f64) -> bool {
    all_tie(&[one, other])
}

/// Whether all of `values` tie with one another. They have to be finite.
pub(super) fn all_tie(values: &[f64]) -> bool {
    tied(values).windows(2).all(|pair| pair[0] == pair[1])
}

/// What summation leaves of numbers that cancel, as a share of them.
const NOISE: f64 = 1e-12;

/// `difference`, 0 if it is no more than 1e-12 of `size`, the largest of the scores that it was summed up from: a mean
/// difference that is just 0 seldom comes out as 0.
pub(crate) fn settled(difference: f64, size: f64) -> f64 {
    if difference.abs() <= NOISE * size.abs() { 0. } else { difference }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cancels_but_for_its_last_bits_is_nothing() {
        let cancelled = (0.8 - 0.7) + (0.7 - 0.8) + (0.1 + 0.2 - 0.3);
        assert!(cancelled != 0. && settled(cancelled, 0.8) == 0.);
        assert_eq!(settled(1e-9, 0.8), 1e-9);
        assert_eq!([settled(0., 0.), settled(5e-324, 5e-324)], [0., 5e-324]);
    }

    #[test]
    fn what_differs_in_its_last_bits_ties_and_nothing_else() {
        assert_eq!(tied(&[0.1 + 0.2, 0.3, 0.30001]), [0.3, 0.3, 0.30001]);
        assert_eq!(
            tied(&[-0.3, -(0.1 + 0.2), 0., -0., 5e-324, 1e-323]),
            [-0.30000000000000004, -0.30000000000000004, 0., 0., 5e-324, 1e-323]
        );
        assert_eq!(tied(&[1e20, 1., 2., 1. + 1e-9]), [1e20, 1., 2., 1. + 1e-9]);
        assert!(all_tie(&[0.9 - 0.8, 0.3 - 0.2, 0.1]) && !all_tie(&[0.1, 0.1001]) && all_tie(&[]));
        assert_eq!(tied(&[f64::MAX, -f64::MAX, 1.]), [f64::MAX, -f64::MAX, 1.]);
        // Each within reach of the next, the last not of the first.
        assert_eq!(tied(&[1., 1. + 0.8e-10, 1. + 1.6e-10]), [1., 1., 1. + 1.6e-10]);
    }
}
