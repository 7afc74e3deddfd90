//! Nemenyi's comparison of all pairs after Friedman's test: methods differ if their mean ranks are further apart than
//! CD = q_α / √2 · √(k·(k + 1) / (6·N)), with q_α the studentized range of k at infinite degrees of freedom,
//! P(range ≤ q) = k ∫ φ(z)·[Φ(z + q) − Φ(z)]ᵏ⁻¹ dz.
//!
//! Nemenyi, "Distribution-free multiple comparisons" (1963); Demšar (JMLR 2006).

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::mean_ranks;
use super::special::{normal_above, normal_density, solve};

/// All pairs of methods compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nemenyi {
    /// Mean rank of each method, 1 for the best.
    pub mean_ranks: Vec<f64>,
    /// The difference of mean ranks that is significant at `level`.
    pub critical_difference: f64,
    /// The significance level.
    pub level: f64,
    /// p of each pair, `[methods][methods]`, 1 on the diagonal; corrected for comparing all pairs.
    pub p: Vec<Vec<f64>>,
    /// The smallest p that a pair can have with so many blocks.
    pub smallest_p: f64,
    /// The bars of a critical-difference diagram: the maximal runs of methods, best first, that do not differ.
    pub groups: Vec<Vec<usize>>,
}

/// Compares all pairs of methods; `scores` is `[blocks][methods]`, higher is better, `level` in (0, 1).
/// `None` for fewer than two methods or no blocks.
///
/// # Errors
/// If a score is not finite, or `level` is outside (0, 1).
///
/// # Panics
/// If blocks differ in length.
pub fn nemenyi(scores: &[Vec<f64>], level: f64) -> Result<Option<Nemenyi>> {
    ensure!(level > 0. && level < 1., "the level of Nemenyi's test must lie between 0 and 1, found {level}");
    let methods = scores.first().map_or(0, Vec::len);
    if methods < 2 {
        return Ok(None);
    }
    let mean_ranks = mean_ranks(scores)?;
    let unit = (methods as f64 * (methods as f64 + 1.) / (12. * scores.len() as f64)).sqrt();
    let p_of = |difference: f64| 1. - studentized_range(difference.abs() / unit, methods);
    let row = |&mine: &f64| mean_ranks.iter().map(|&other| p_of(mine - other).clamp(0., 1.)).collect();
    let critical_difference = studentized_range_quantile(1. - level, methods) * unit;
    Ok(Some(Nemenyi {
        p: mean_ranks.iter().map(row).collect(),
        smallest_p: p_of(methods as f64 - 1.).clamp(0., 1.),
        groups: groups(&mean_ranks, critical_difference),
        mean_ranks,
        critical_difference,
        level,
    }))
}

/// The probability that the range of `count` standard normals is at most `q`; NaN of NaN.
pub fn studentized_range(q: f64, count: usize) -> f64 {
    if q.is_nan() {
        return q;
    }
    if count < 2 {
        return 1.;
    }
    // The integrand is smooth and vanishes at both ends, where the trapezium rule converges geometrically.
    const STEP: f64 = 1. / 8.;
    const REACH: i32 = 9 * 8;
    let below = |z: f64| normal_above(-z);
    let q = q.max(0.);
    let sum: f64 = (-REACH - (q / STEP).min(1e4) as i32..=REACH)
        .map(|index| {
            let z = f64::from(index) * STEP;
            normal_density(z) * (below(z + q) - below(z)).max(0.).powi(count as i32 - 1)
        })
        .sum();
    (count as f64 * sum * STEP).clamp(0., 1.)
}

/// The range that `count` standard normals exceed with probability 1 − `probability`: 0 for 0, infinite for 1, and NaN for
/// what is no probability or fewer than two normals.
pub fn studentized_range_quantile(probability: f64, count: usize) -> f64 {
    match probability {
        _ if count < 2 || !(0. ..=1.).contains(&probability) => return f64::NAN,
        0. => return 0.,
        1. => return f64::INFINITY,
        _ => {}
    }
    solve(|q| probability - studentized_range(q, count))
}

fn groups(mean_ranks: &[f64], critical_difference: f64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..mean_ranks.len()).collect();
    order.sort_by(|&a, &b| mean_ranks[a].total_cmp(&mean_ranks[b]));
    let (mut groups, mut covered) = (Vec::new(), 0);
    for first in 0..order.len() {
        let near = |&&method: &&usize| mean_ranks[method] - mean_ranks[order[first]] <= critical_difference;
        let end = first + order[first..].iter().take_while(near).count();
        if end > covered && end - first > 1 {
            groups.push(order[first..end].to_vec());
        }
        covered = covered.max(end);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Demšar (JMLR 2006), table 5a, prints q / √2 for 2 to 10 methods at levels 0.05 and 0.10.
    #[test]
    fn quantiles_are_those_of_the_published_table() {
        for (level, printed) in [
            (0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
            (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
        ] {
            for (methods, expected) in (2..).zip(printed) {
                let found = studentized_range_quantile(1. - level, methods) / std::f64::consts::SQRT_2;
                assert!((found - expected).abs() < 1.1e-3, "{methods} methods at {level}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn groups_are_maximal_runs_of_like_methods() {
        assert_eq!(groups(&[3.0, 1.0, 1.5, 2.4], 1.0), [vec![1, 2], vec![2, 3], vec![3, 0]]);
        assert_eq!(groups(&[1.0, 2.0], 5.0), [vec![0, 1]]);
        assert!(groups(&[1.0, 9.0], 5.0).is_empty());
    }

    #[test]
    fn a_pair_at_the_critical_difference_has_the_level_as_p() {
        let found = nemenyi(&vec![vec![3., 2., 1.]; 4], 0.05).expect("finite").expect("three methods");
        let unit = (3. * 4. / (12. * 4f64)).sqrt();
        assert!((1. - studentized_range(found.critical_difference / unit, 3) - 0.05).abs() < 1e-9);
        assert!((found.p[0][2] - found.smallest_p).abs() < 1e-15 && found.p[1][1] == 1.);
        assert!(nemenyi(&[], 0.05).expect("none").is_none());
        assert!(nemenyi(&[], f64::NAN).expect_err("no level").to_string().contains("found NaN"));
    }

    /// As `scipy.stats.studentized_range.cdf` and `.ppf` answer.
    #[test]
    fn the_ends_of_the_range_are_those_of_scipy() {
        assert_eq!([studentized_range(f64::INFINITY, 4), studentized_range(-1., 4)], [1., 0.]);
        assert_eq!([studentized_range_quantile(0., 4), studentized_range_quantile(1., 4)], [0., f64::INFINITY]);
        for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            assert!(studentized_range_quantile(bad, 4).is_nan());
        }
        assert!(studentized_range(f64::NAN, 4).is_nan() && studentized_range_quantile(0.5, 1).is_nan());
    }
}
