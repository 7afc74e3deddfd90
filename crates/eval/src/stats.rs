//! Is a difference more than chance? Tests, intervals and effect sizes for paired runs.
//!
//! The primary test is [`paired_bootstrap`] over examples × seeds. Rank tests over tasks follow Demšar, "Statistical
//! comparisons of classifiers over multiple data sets" (JMLR 2006): their blocks are tasks, never seeds. Every
//! [`TestResult`] carries the smallest p that its test could have given, for no five seeds can bring Wilcoxon's test
//! below 0.0625.
//!
//! Input that is not finite is an error: it has no rank and no mean. Values may be as large or as small as numbers go.

mod bootstrap;
mod effect;
mod friedman;
mod gain;
mod holm;
mod interval;
mod jackknife;
mod mcnemar;
mod nemenyi;
mod special;
mod student;
mod ties;
mod wilcoxon;

use std::borrow::Cow;
use std::fmt;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub use bootstrap::{Arms, Bootstrap, Resamples, metric_interval, paired_bootstrap, paired_metric, paired_resamples};
pub use effect::{cliffs_delta, cohens_dz};
pub use friedman::{friedman, friedman_asymptotic, mean_ranks};
pub use gain::{Differences, Gain, gains};
pub use holm::holm;
pub use interval::Interval;
pub(crate) use jackknife::jackknife;
pub use mcnemar::{discordant, mcnemar, mcnemar_asymptotic, mcnemar_exact};
pub use nemenyi::{Nemenyi, nemenyi, studentized_range, studentized_range_quantile};
pub use student::paired_t;
pub(crate) use ties::settled;
pub use ties::ties;
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
    /// Which way the difference goes that p is of: 1 if the first is better, −1 if it is worse, 0 if neither is or the
    /// test has no direction. The test is two-sided all the same.
    #[serde(default)]
    pub sign: i8,
}

impl TestResult {
    /// Which way the difference goes, in a word.
    pub fn direction(&self) -> &'static str {
        match self.sign {
            0 => "no direction",
            sign if sign > 0 => "better",
            _ => "worse",
        }
    }

    /// Whether differences that are all equal left the statistic no finite value, so that neither it nor p means
    /// anything.
    pub fn is_certain(&self) -> bool {
        self.statistic.abs() == f64::MAX
    }

    /// The same test of a difference that goes the way of `difference`.
    fn towards(self, difference: f64) -> Self {
        let sign = if difference > 0. { 1 } else { -i8::from(difference < 0.) };
        Self { sign, ..self }
    }
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
    let (p, smallest_p) = (p.clamp(0., 1.), smallest_p.clamp(0., 1.));
    TestResult { test: test.to_string(), statistic, p, smallest_p, n, sign: 0 }
}

/// Refuses the first of `values` that is NaN or infinite; `what` is what asks.
fn finite(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => {
            bail!("{what}: value {} of {} is {}, not a finite number", index + 1, values.len(), values[index])
        }
        None => Ok(()),
    }
}

/// The unbiased standard deviation, whatever the size of `values`; 0 for fewer than two. They have to be finite.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0., |largest: f64, value| largest.max(value.abs()));
    let unit = if largest == 0. || (1e-100..1e100).contains(&largest) { 1. } else { largest };
    unit * variance(&values.iter().map(|value| value / unit).collect::<Vec<_>>()).sqrt()
}

/// `values` divided by the largest of them where their squares would overflow or vanish. They have to be finite.
fn scaled(values: &[f64]) -> Cow<'_, [f64]> {
    let largest = values.iter().fold(0., |largest: f64, value| largest.max(value.abs()));
    match largest == 0. || (1e-100..1e100).contains(&largest) {
        true => Cow::from(values),
        false => values.iter().map(|value| value / largest).collect(),
    }
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
        let five_seeds = super::wilcoxon(&[0.1, 0.2, 0.3, 0.4, 0.5]).expect("finite").to_string();
        let expected = "Wilcoxon signed-rank, exact: statistic 0.0000, p = 0.0625, n = 5 (p cannot fall below 6.25e-2)";
        assert_eq!(five_seeds, expected);
        assert!(super::paired_t(&[1., 2., 4.]).expect("finite").to_string().ends_with("n = 3"));
    }

    /// `scipy.stats.ttest_1samp(x, 0)`, `wilcoxon(x, method="exact")` and `friedmanchisquare(*zip(*x))` of SciPy 1.17.1, on x divided by
    /// its largest where SciPy itself overflows.
    #[test]
    fn huge_and_denormal_values_are_tested_as_others_are() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        for (differences, p) in [
            ([1e308, 1e308, -1e308], 0.6666666666666667),
            ([1.7e308, 1.6e308, 1.5e308], 0.0012995457082251801),
            ([1e-320, 2e-320, -1e-320], 0.5285954792089683),
            ([1e200, 1e-200, -3e199], 0.6128991154734684),
        ] {
            close(super::paired_t(&differences).expect("finite").p, p);
        }
        close(super::paired_t(&[1e-320, 2e-320]).expect("finite").p, 0.20483276469913345);
        close(super::cohens_dz(&[1e308, 1e308, -1e308]).expect("finite"), 1. / 12f64.sqrt());
        close(super::wilcoxon(&[1.7e308, 1.6e308, 1.5e308]).expect("finite").p, 0.25);
        close(super::wilcoxon(&[1e200, 1e-200, -3e199]).expect("finite").p, 0.75);
        let scores = [vec![1e308, -1e308, 0.], vec![1e-320, -1e-320, 0.], vec![3., 1., 2.]];
        close(super::friedman_asymptotic(&scores).expect("finite").p, 0.04978706836786395);
    }

    #[test]
    fn what_is_not_finite_is_refused_by_its_place() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let values = [1., bad, 2.];
            let rows = [vec![1., 2.], vec![bad, 1.]];
            let errors = [
                super::paired_t(&values).map(drop),
                super::wilcoxon(&values).map(drop),
                super::wilcoxon_exact(&values).map(drop),
                super::wilcoxon_asymptotic(&values).map(drop),
                super::holm(&values).map(drop),
                super::cohens_dz(&values).map(drop),
                super::cliffs_delta(&values, &[1.]).map(drop),
                super::cliffs_delta(&[1.], &values).map(drop),
                super::mean_ranks(&rows).map(drop),
                super::friedman(&rows).map(drop),
                super::nemenyi(&rows, 0.05).map(drop),
            ];
            for error in errors {
                let error = error.expect_err("not finite").to_string();
                assert!(error.contains(&format!("is {bad}, not a finite number")), "{error}");
            }
        }
        let error = super::paired_t(&[1., f64::NAN, 2.]).expect_err("NaN").to_string();
        assert_eq!(error, "paired t: value 2 of 3 is NaN, not a finite number");
        assert!(super::holm(&[0.5, 1.5]).expect_err("no probability").to_string().contains("p 2 of 2 is 1.5"));
    }

    /// Three arms with the same five scores, each in another order: their means differ in the last bits.
    #[test]
    fn sums_in_another_order_tie() {
        let orders = [[0.1, 0.2, 0.3, 0.4, 0.7], [0.7, 0.3, 0.1, 0.4, 0.2], [0.4, 0.7, 0.2, 0.3, 0.1]];
        let block: Vec<f64> = orders.iter().map(|scores| super::mean(scores)).collect();
        assert!(block.windows(2).any(|pair| pair[0] != pair[1]), "{block:?}");
        let scores = [block.clone(), block.iter().rev().copied().collect(), vec![0.5, 0.5, 0.5]];
        assert_eq!(super::mean_ranks(&scores).expect("finite"), [2., 2., 2.]);
        assert_eq!(super::friedman(&scores).expect("finite").p, 1.);
        let nemenyi = super::nemenyi(&scores, 0.05).expect("finite").expect("three arms");
        assert!(nemenyi.p.iter().flatten().all(|p| *p == 1.), "{nemenyi:?}");
        // |d| of 0.1 thrice: SciPy's `wilcoxon([1, 1, -1, 2], method=PermutationMethod())`.
        let noisy = super::wilcoxon(&[0.3 - 0.2, 0.9 - 0.8, 0.7 - 0.8, 0.2]).expect("finite");
        assert_eq!((noisy.statistic, noisy.p), (2., 0.5));
    }
}
