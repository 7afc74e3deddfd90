//! Wilcoxon's signed-rank test: W = min(R₊, R₋), with R± the sums of the ranks of |d| over positive and negative d.
//!
//! Zero differences are dropped, equal |d| share their mean rank. |d| tie within 1e-10 of the larger, for differences that
//! tie in exact arithmetic seldom do as numbers.
//!
//! Wilcoxon, "Individual comparisons by ranking methods" (Biometrics 1945).

use anyhow::Result;

use super::special::normal_above;
use super::ties::tied;
use super::{TestResult, finite, result};
use crate::ranks;

/// Whether paired `differences` are symmetric about 0: exact up to 50 non-zero ones, by normal approximation above.
///
/// # Errors
/// If a difference is not finite.
pub fn wilcoxon(differences: &[f64]) -> Result<TestResult> {
    let nonzero = differences.iter().filter(|difference| **difference != 0.).count();
    if nonzero <= 50 { wilcoxon_exact(differences) } else { wilcoxon_asymptotic(differences) }
}

/// The exact test: p counts the sign patterns of the ranks at hand (ties included), doubled for two sides.
/// It takes memory and time of order n² and n³.
///
/// # Errors
/// As [`wilcoxon`].
pub fn wilcoxon_exact(differences: &[f64]) -> Result<TestResult> {
    let signed = SignedRanks::of(differences)?;
    // Twice the mean ranks are whole numbers.
    let doubled: Vec<usize> = signed.ranks.iter().map(|rank| (2. * rank).round() as usize).collect();
    let total: usize = doubled.iter().sum();
    let mut patterns = vec![0f64; total + 1];
    patterns[0] = 1.;
    for &rank in &doubled {
        for sum in (rank..=total).rev() {
            patterns[sum] = (patterns[sum] + patterns[sum - rank]) / 2.;
        }
        patterns[..rank.min(total + 1)].iter_mut().for_each(|share| *share /= 2.);
    }
    let reached = (2. * signed.statistic()).round() as usize;
    let p = 2. * patterns[..=reached.min(total)].iter().sum::<f64>();
    let found = result("Wilcoxon signed-rank, exact", signed.statistic(), p, signed.smallest_p(), signed.ranks.len());
    Ok(found.towards(signed.positive - signed.negative))
}

/// The normal approximation with correction for ties and none for continuity.
///
/// # Errors
/// As [`wilcoxon`].
pub fn wilcoxon_asymptotic(differences: &[f64]) -> Result<TestResult> {
    const TEST: &str = "Wilcoxon signed-rank, asymptotic";
    let signed = SignedRanks::of(differences)?;
    if signed.ranks.is_empty() {
        return Ok(result(TEST, 0., 1., 1., 0));
    }
    // Under the null each rank is in R₊ or not with probability ½: variance Σ r² / 4, whatever the ties.
    let deviation = signed.ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt() / 2.;
    let two_sided = |statistic: f64| {
        let expected = signed.ranks.iter().sum::<f64>() / 2.;
        2. * normal_above((expected - statistic).abs() / deviation)
    };
    let statistic = signed.statistic();
    let found = result(TEST, statistic, two_sided(statistic), two_sided(0.), signed.ranks.len());
    Ok(found.towards(signed.positive - signed.negative))
}

struct SignedRanks {
    ranks: Vec<f64>,
    positive: f64,
    negative: f64,
}

impl SignedRanks {
    fn of(differences: &[f64]) -> Result<Self> {
        finite("Wilcoxon signed-rank", differences)?;
        let nonzero: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.).collect();
        let ranks = ranks(&tied(&nonzero.iter().map(|difference| difference.abs()).collect::<Vec<_>>()));
        let sum = |sign: f64| ranks.iter().zip(&nonzero).filter(|(_, d)| *d * sign > 0.).map(|(rank, _)| rank).sum();
        Ok(Self { positive: sum(1.), negative: sum(-1.), ranks })
    }

    fn statistic(&self) -> f64 {
        self.positive.min(self.negative)
    }

    /// All differences of one sign: two of the 2ⁿ patterns.
    fn smallest_p(&self) -> f64 {
        2f64.powi(1 - self.ranks.len() as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_seeds_cannot_bring_p_below_a_sixteenth() {
        let best = wilcoxon(&[0.1, 0.2, 0.3, 0.4, 0.5]).expect("finite");
        assert_eq!((best.p, best.smallest_p, best.statistic), (0.0625, 0.0625, 0.));
    }

    #[test]
    fn no_difference_is_no_evidence() {
        assert_eq!(wilcoxon(&[]).expect("finite").p, 1.);
        assert_eq!(wilcoxon(&[0., 0.]).expect("finite").p, 1.);
        assert_eq!(wilcoxon_asymptotic(&[0.]).expect("finite").p, 1.);
        assert_eq!(wilcoxon(&[1., -1.]).expect("finite").p, 1.);
    }

    #[test]
    fn both_modes_agree_on_many_pairs() {
        let mut stream = mtl_task::rng::Key::new(1).stream();
        let differences: Vec<f64> = (0..50).map(|_| stream.normal() + 0.3).collect();
        let (exact, approximate) =
            (wilcoxon_exact(&differences).expect("finite"), wilcoxon_asymptotic(&differences).expect("finite"));
        assert!((exact.p - approximate.p).abs() < 2e-3, "{exact} {approximate}");
    }
}
