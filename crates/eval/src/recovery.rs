//! Was the truth found? Scores of a diagnosis where the true structure is known, and gradient conflict freed of noise.

mod cosine;

use std::collections::BTreeMap;

pub use cosine::{Halves, corrected_cosine, mean_over_draws, row_conflict};

use crate::ranks;

/// The adjusted Rand index of two partitions of the same items: 1 if they are alike, about 0 for chance.
///
/// (Σᵢⱼ C(nᵢⱼ, 2) − e) / (½ Σᵢ C(aᵢ, 2) + ½ Σⱼ C(bⱼ, 2) − e), with e = Σᵢ C(aᵢ, 2) · Σⱼ C(bⱼ, 2) / C(n, 2);
/// Hubert and Arabie, "Comparing partitions" (1985). 1 where the denominator is 0, for then both partitions are one
/// block or both are all apart.
///
/// # Panics
/// If the partitions are of unequally many items.
pub fn adjusted_rand(first: &[u32], second: &[u32]) -> f64 {
    assert_eq!(first.len(), second.len(), "both partitions must be of the same items");
    let pairs = |groups: BTreeMap<(u32, u32), f64>| groups.values().map(|n| n * (n - 1.) / 2.).sum::<f64>();
    let grouped = |key: fn(u32, u32) -> (u32, u32)| {
        let mut groups = BTreeMap::new();
        first.iter().zip(second).for_each(|(&a, &b)| *groups.entry(key(a, b)).or_insert(0.) += 1.);
        pairs(groups)
    };
    let (both, left, right) = (grouped(|a, b| (a, b)), grouped(|a, _| (a, 0)), grouped(|_, b| (0, b)));
    let all = first.len() as f64 * (first.len() as f64 - 1.) / 2.;
    let expected = if all > 0. { left * right / all } else { 0. };
    let most = (left + right) / 2.;
    if most == expected { 1. } else { (both - expected) / (most - expected) }
}

/// The probability that a positive scores above a negative, ties counting half: the area under the ROC curve.
/// `None` without both; scores that are not numbers are not judged either.
///
/// # Panics
/// If there are not as many scores as truths.
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "one truth per score");
    let positives = positive.iter().filter(|&&positive| positive).count() as f64;
    let negatives = positive.len() as f64 - positives;
    if positives == 0. || negatives == 0. || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    // Mann and Whitney's U, from the positives' rank sum.
    let sum: f64 = ranks(scores).iter().zip(positive).filter(|(_, positive)| **positive).map(|(rank, _)| rank).sum();
    Some((sum - positives * (positives + 1.) / 2.) / (positives * negatives))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_do_not_matter() {
        assert_eq!(adjusted_rand(&[0, 0, 1, 1], &[5, 5, 2, 2]), 1.);
        assert_eq!(adjusted_rand(&[0, 0, 0], &[1, 1, 1]), 1.);
        assert_eq!(adjusted_rand(&[], &[]), 1.);
        assert!(adjusted_rand(&[0, 0, 1, 1], &[0, 1, 0, 1]) < 0.);
    }

    #[test]
    fn an_area_needs_both_kinds() {
        assert_eq!(roc_auc(&[0.1, 0.9], &[false, true]), Some(1.));
        assert_eq!(roc_auc(&[0.5, 0.5], &[false, true]), Some(0.5));
        assert_eq!(roc_auc(&[0.5], &[true]), None);
    }
}
