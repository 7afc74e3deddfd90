//! Is a difference more than chance? Tests, intervals and effect sizes for paired runs.
//!
//! The primary test is [`paired_bootstrap`] over examples × seeds. Rank tests over tasks follow Demšar, "Statistical
//! comparisons of classifiers over multiple data sets" (JMLR 2006): their blocks are tasks, never seeds. Every
//! [`TestResult`] carries the smallest p that its test could have given, for no five seeds can bring Wilcoxon's test
//! below 0.0625.

mod bootstrap;
mod effect;
mod friedman;
mod holm;
mod interval;
mod jackknife;
mod mcnemar;
mod nemenyi;
mod special;
mod student;
mod wilcoxon;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use bootstrap::{Arms, Bootstrap, metric_interval, paired_bootstrap, paired_metric};
pub use effect::{cliffs_delta, cohens_dz};
pub use friedman::{friedman, mean_ranks};
pub use holm::holm;
pub use interval::Interval;
pub(crate) use jackknife::jackknife;
pub use mcnemar::{discordant, mcnemar, mcnemar_asymptotic, mcnemar_exact};
pub use nemenyi::{Nemenyi, nemenyi, studentized_range, studentized_range_quantile};
pub use student::paired_t;
pub use wilcoxon::{wilcoxon, wilcoxon_asymptotic, wilcoxon_exact};

/// What a two-sided test found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The test and the mode it ran in.
    pub test: String,
    /// The test statistic.
    pub statistic: f64,
    /// The probability of a statistic at least as extreme if there is no difference.
    pub p: f64,
    /// The smallest p that the test can give for so many observations; 0 if there is no such limit.
    pub smallest_p: f64,
    /// Observations that entered: pairs, blocks, discordant examples.
    pub n: usize,
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: statistic {:.4}, p = {:.4}, n = {}", self.test, self.statistic, self.p, self.n)?;
        if self.smallest_p > 0. { write!(f, " (p cannot fall below {:.2e})", self.smallest_p) } else { Ok(()) }
    }
}

/// A finished test; `p` is kept in [0, 1] whatever rounding did to it.
fn result(test: &str, statistic: f64, p: f64, smallest_p: f64, n: usize) -> TestResult {
    // An empty sum is −0 in Rust; adding 0 takes the sign away.
    let statistic = statistic + 0.;
    TestResult { test: test.to_string(), statistic, p: p.clamp(0., 1.), smallest_p: smallest_p.clamp(0., 1.), n }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The unbiased variance, 0 for fewer than two values.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len().saturating_sub(1).max(1) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_result_says_what_its_test_could_not_have_found() {
        let five_seeds = super::wilcoxon(&[0.1, 0.2, 0.3, 0.4, 0.5]).to_string();
        let expected = "Wilcoxon signed-rank, exact: statistic 0.0000, p = 0.0625, n = 5 (p cannot fall below 6.25e-2)";
        assert_eq!(five_seeds, expected);
        assert!(super::paired_t(&[1., 2., 4.]).to_string().ends_with("n = 3"));
    }
}
