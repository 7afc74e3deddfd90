//! McNemar's test of two classifiers on the same examples: of the b + c examples that just one of them gets right,
//! is each as likely to be right? Exact: b of b + c fair coins; asymptotic: χ² = (|b − c| − 1)² / (b + c), 1 degree.
//!
//! McNemar, "Note on the sampling error of the difference between correlated proportions" (Psychometrika 1947);
//! Edwards 1948 for the continuity correction.

use super::special::{chi_squared_above, fair_coins_up_to};
use super::{TestResult, result};

/// How many examples only the first gets right, and how many only the second.
///
/// # Panics
/// If the two did not see equally many examples.
pub fn discordant(first: &[bool], second: &[bool]) -> (usize, usize) {
    assert_eq!(first.len(), second.len(), "McNemar's test compares answers to the same examples");
    first.iter().zip(second).fold((0, 0), |(b, c), pair| match pair {
        (true, false) => (b + 1, c),
        (false, true) => (b, c + 1),
        _ => (b, c),
    })
}

/// The exact test below 25 discordant examples, the asymptotic one from there on.
pub fn mcnemar(only_first: usize, only_second: usize) -> TestResult {
    let few = only_first.saturating_add(only_second) < 25;
    let found = if few { mcnemar_exact(only_first, only_second) } else { mcnemar_asymptotic(only_first, only_second) };
    found.towards(only_first as f64 - only_second as f64)
}

/// The exact test. Its statistic is the smaller of both counts.
pub fn mcnemar_exact(only_first: usize, only_second: usize) -> TestResult {
    let (n, fewer) = (only_first.saturating_add(only_second), only_first.min(only_second));
    let p = |count| 2. * fair_coins_up_to(count, n);
    result("McNemar, exact", fewer as f64, p(fewer), p(0), n)
}

/// The χ² approximation with continuity correction.
pub fn mcnemar_asymptotic(only_first: usize, only_second: usize) -> TestResult {
    let n = only_first.saturating_add(only_second);
    let statistic = |difference: usize| {
        if n == 0 { 0. } else { (difference as f64 - 1.).powi(2) / n as f64 }
    };
    let found = statistic(only_first.abs_diff(only_second));
    let p = |statistic| chi_squared_above(statistic, 1.);
    result("McNemar, χ² with continuity correction", found, p(found), p(statistic(n)), n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_discordant_examples_count() {
        assert_eq!(discordant(&[true, true, false, false, true], &[true, false, true, false, false]), (2, 1));
        assert_eq!(mcnemar(0, 0).p, 1.);
        assert_eq!(mcnemar(0, 3).p, 0.25);
        assert_eq!(mcnemar(0, 3).smallest_p, 0.25);
    }
}
