//! Friedman's test of k methods over N blocks by ranks within each block:
//! χ² = [12 / (N·k·(k + 1)) · Σⱼ Rⱼ² − 3·N·(k + 1)] / [1 − Σ (t³ − t) / (N·(k³ − k))], k − 1 degrees of freedom,
//! with Rⱼ the rank sum of method j and t the size of each group of ties.
//!
//! The approximation by χ² is rough below 10 blocks or 5 methods: two methods that four blocks rank alike have
//! p = 0.046 by it, where 2 of the 2⁴ orders, 0.125, are as far apart. So p is counted over the orders of the ranks in
//! each block, or drawn from them, wherever blocks are few.
//!
//! Friedman, "The use of ranks to avoid the assumption of normality" (JASA 1937). Blocks are tasks, never seeds.
//! Scores of a block tie within 1e-10 of the larger.

mod exact;

use anyhow::Result;

use super::special::chi_squared_above;
use super::ties::tied;
use super::{TestResult, finite, result};
use crate::ranks;

/// The mean rank of each method over blocks, 1 for the best; `scores` is `[blocks][methods]`, higher is better.
///
/// # Errors
/// If a score is not finite.
///
/// # Panics
/// If blocks differ in length.
pub fn mean_ranks(scores: &[Vec<f64>]) -> Result<Vec<f64>> {
    let methods = scores.first().map_or(0, Vec::len);
    let mut sums = vec![0.; methods];
    for block in scores {
        assert_eq!(block.len(), methods, "each block must score the same methods");
        finite("ranks of a block", block)?;
        let negated: Vec<f64> = tied(block).iter().map(|score| -score).collect();
        sums.iter_mut().zip(ranks(&negated)).for_each(|(sum, rank)| *sum += rank);
    }
    Ok(sums.iter().map(|sum| sum / scores.len() as f64).collect())
}

/// More blocks than these are tested by χ².
const FEW: usize = 50;

/// Whether the methods' ranks differ; `scores` is `[blocks][methods]`. Fewer than two methods, or methods that tie in
/// every block: p = 1. Up to 50 blocks p is that of the orders of ranks: counted where they can be, else by 100,000 draws
/// with a generator of one seed; above, by χ².
///
/// # Errors
/// If a score is not finite.
///
/// # Panics
/// If blocks differ in length.
pub fn friedman(scores: &[Vec<f64>]) -> Result<TestResult> {
    let approximate = friedman_asymptotic(scores)?;
    if scores.len() > FEW || approximate.statistic == 0. {
        return Ok(approximate);
    }
    let doubled: Vec<Vec<u32>> = scores
        .iter()
        .map(|block| {
            Ok(mean_ranks(std::slice::from_ref(block))?.iter().map(|rank| (2. * rank).round() as u32).collect())
        })
        .collect::<Result<_>>()?;
    let TestResult { statistic, n, .. } = approximate;
    Ok(match exact::counted(&doubled) {
        Some((p, smallest)) => result("Friedman, exact", statistic, p, smallest, n),
        None => {
            let smallest = 1. / (exact::DRAWS + 1) as f64;
            result("Friedman, 100,000 draws", statistic, exact::drawn(&doubled), smallest, n)
        }
    })
}

/// [`friedman`] by the χ² approximation whatever the number of blocks.
///
/// # Errors
/// As [`friedman`].
///
/// # Panics
/// As [`friedman`].
pub fn friedman_asymptotic(scores: &[Vec<f64>]) -> Result<TestResult> {
    const TEST: &str = "Friedman, χ²";
    let ranks = mean_ranks(scores)?;
    let (blocks, methods) = (scores.len() as f64, scores.first().map_or(0, Vec::len) as f64);
    let untied = 1. - scores.iter().map(|block| ties(block)).sum::<f64>() / (blocks * (methods.powi(3) - methods));
    if scores.is_empty() || methods < 2. || untied <= 0. {
        return Ok(result(TEST, 0., 1., 1., scores.len()));
    }
    let squares: f64 = ranks.iter().map(|rank| (rank * blocks).powi(2)).sum();
    let plain = 12. / (blocks * methods * (methods + 1.)) * squares - 3. * blocks * (methods + 1.);
    let statistic = (plain / untied).max(0.);
    let p = |statistic| chi_squared_above(statistic, methods - 1.);
    // At most, every block ranks the methods in one order.
    Ok(result(TEST, statistic, p(statistic), p(blocks * (methods - 1.)), scores.len()))
}

/// Σ (t³ − t) over groups of equal scores.
fn ties(block: &[f64]) -> f64 {
    let mut sorted = tied(block);
    sorted.sort_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(|group| (group.len() as f64).powi(3) - group.len() as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_method_has_rank_one() {
        assert_eq!(mean_ranks(&[vec![0.9, 0.5, 0.7], vec![0.8, 0.8, 0.1]]).expect("finite"), [1.25, 2.25, 2.5]);
        assert!(mean_ranks(&[]).expect("none").is_empty());
    }

    #[test]
    fn no_difference_is_no_evidence() {
        for scores in [vec![], vec![vec![1.]], vec![vec![1., 1.], vec![2., 2.]]] {
            assert_eq!(friedman(&scores).expect("finite").p, 1., "{scores:?}");
        }
    }

    #[test]
    fn one_order_in_every_block_gives_the_smallest_p() {
        for found in [friedman, friedman_asymptotic].map(|test| test(&vec![vec![3., 2., 1.]; 6]).expect("finite")) {
            assert!((found.statistic - 12.).abs() < 1e-12 && (found.p - found.smallest_p).abs() < 1e-15, "{found}");
        }
    }

    /// The smallest p of two methods over four blocks, and 0.0278 of Friedman's tables for χ² = 6 at three by three;
    /// five blocks of two are the sign test.
    #[test]
    fn few_blocks_are_tested_by_their_orders() {
        let alike = |blocks: usize, methods: usize| {
            let order: Vec<f64> = (0..methods).map(|method| method as f64).collect();
            friedman(&vec![order; blocks]).expect("finite").p
        };
        assert_eq!([alike(4, 2), alike(5, 2)], [0.125, 0.0625]);
        assert!((alike(3, 3) - 1. / 36.).abs() < 1e-12, "{}", alike(3, 3));
        let scores = [vec![1., 2., 3.], vec![1., 3., 2.], vec![1., 2., 3.], vec![2., 1., 3.]];
        // χ²_F = 4.5 at k = 3, N = 4: P = 0.125 (Siegel and Castellan, table M).
        let found = friedman(&scores).expect("finite");
        assert!((found.statistic - 4.5).abs() < 1e-12 && (found.p - 0.125).abs() < 1e-3, "{found}");
        let many = friedman(&vec![(0..12).map(f64::from).collect::<Vec<f64>>(); 4]).expect("finite");
        assert!(many.test.contains("draws") && many.p == many.smallest_p, "{many}");
        assert!(friedman(&vec![vec![1., 2.]; 51]).expect("finite").test.contains("χ²"));
    }
}
