//! Every test against SciPy or statsmodels on 1,000 random inputs: statistics to 1e-9, p-values to 1e-6.

use crate::fixture::{Case, cases};
use mtl_eval::{pearson, spearman, stats};

const STATISTIC: f64 = 1e-9;
const P: f64 = 1e-6;

fn pairs(case: &Case) -> [Vec<f64>; 2] {
    [0, 1].map(|side| case.numbers(side).iter().map(|number| number / 64.).collect())
}

#[test]
fn tests_of_paired_samples() {
    let mut exact = 0;
    for case in cases("paired") {
        let [x, y] = pairs(&case);
        let differences: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - y).collect();
        let t = stats::paired_t(&differences).expect("finite");
        case.expect("t", 2, t.statistic, STATISTIC);
        case.expect("p of t", 3, t.p, P);
        let wilcoxon = stats::wilcoxon_asymptotic(&differences).expect("finite");
        case.expect("W", 4, wilcoxon.statistic, STATISTIC);
        case.expect("asymptotic p of W", 5, wilcoxon.p, P);
        if case.maybe(6).is_some() {
            exact += 1;
            case.expect("exact p of W", 6, stats::wilcoxon(&differences).expect("finite").p, P);
        }
        case.expect("d_z", 7, stats::cohens_dz(&differences).expect("finite"), STATISTIC);
        case.expect("delta", 8, stats::cliffs_delta(&x, &y).expect("finite"), STATISTIC);
    }
    assert!(exact > 700, "{exact} cases had an exact p");
}

#[test]
fn correlations() {
    for case in cases("correlated") {
        let [x, y] = pairs(&case);
        case.expect("Pearson", 2, pearson(&x, &y), STATISTIC);
        case.expect("Spearman", 3, spearman(&x, &y), STATISTIC);
    }
}

/// The same numbers in units of the smallest denormal, and near the largest number: none of these statistics has a scale.
#[test]
fn units_at_either_end_of_the_range_change_nothing() {
    // 2^1011 and 2^−1074, in two exact steps.
    for half in [2f64.powi(505), 2f64.powi(-537)] {
        let unit = |number: &f64| number * half * half * if half > 1. { 2. } else { 1. };
        for case in cases("paired") {
            let whole = [0, 1].map(|side| case.numbers(side));
            let differences: Vec<f64> = whole[0].iter().zip(&whole[1]).map(|(x, y)| unit(&(x - y))).collect();
            assert!(differences.iter().all(|difference| difference.is_finite()), "beyond the range");
            let t = stats::paired_t(&differences).expect("finite");
            case.expect("t", 2, t.statistic, STATISTIC);
            case.expect("p of t", 3, t.p, P);
            case.expect("p of W", 5, stats::wilcoxon_asymptotic(&differences).expect("finite").p, P);
            case.expect("d_z", 7, stats::cohens_dz(&differences).expect("finite"), STATISTIC);
            let [x, y] = whole.map(|side| side.iter().map(unit).collect::<Vec<f64>>());
            case.expect("delta", 8, stats::cliffs_delta(&x, &y).expect("finite"), STATISTIC);
        }
        for case in cases("correlated") {
            let [x, y] = [0, 1].map(|side| case.numbers(side).iter().map(unit).collect::<Vec<f64>>());
            case.expect("Pearson", 2, pearson(&x, &y), STATISTIC);
            case.expect("Spearman", 3, spearman(&x, &y), STATISTIC);
        }
        for case in cases("friedman") {
            let scores: Vec<Vec<f64>> = case.rows(0).iter().map(|row| row.iter().map(unit).collect()).collect();
            case.expect("p", 2, stats::friedman_asymptotic(&scores).expect("finite").p, P);
            let nemenyi = stats::nemenyi(&scores, 0.05).expect("finite").expect("methods");
            assert!(
                nemenyi.mean_ranks.iter().zip(case.numbers(3)).all(|(found, rank)| (found - rank).abs() < STATISTIC)
            );
        }
    }
}

#[test]
fn mcnemar() {
    for case in cases("discordant") {
        let (b, c) = (case.number(0) as usize, case.number(1) as usize);
        case.expect("exact p", 2, stats::mcnemar_exact(b, c).p, P);
        let asymptotic = stats::mcnemar_asymptotic(b, c);
        case.expect("statistic", 3, asymptotic.statistic, STATISTIC);
        case.expect("asymptotic p", 4, asymptotic.p, P);
    }
}

#[test]
fn friedman() {
    for case in cases("friedman") {
        let scores = case.rows(0);
        let found = stats::friedman_asymptotic(&scores).expect("finite");
        case.expect("statistic", 1, found.statistic, STATISTIC);
        case.expect("p", 2, found.p, P);
        let ranks = stats::mean_ranks(&scores).expect("finite");
        assert!(ranks.iter().zip(case.numbers(3)).all(|(found, rank)| (found - rank).abs() < STATISTIC), "{ranks:?}");
    }
}

#[test]
fn holm() {
    for case in cases("holm") {
        let p: Vec<f64> = case.numbers(0).iter().map(|number| number / 640.).collect();
        let corrected = stats::holm(&p).expect("finite");
        assert!(corrected.iter().zip(case.numbers(1)).all(|(found, p)| (found - p).abs() < P), "{corrected:?}");
    }
}

#[test]
fn studentized_range() {
    for case in cases("studentized-range") {
        let found = stats::studentized_range(case.number(0) / 64., case.number(1) as usize);
        case.expect("probability", 2, found, P);
    }
    for case in cases("studentized-range-quantile") {
        let found = stats::studentized_range_quantile(case.number(1) / 100., case.number(0) as usize);
        case.expect("quantile", 2, found, 1e-7);
    }
}
