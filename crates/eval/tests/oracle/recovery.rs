//! Scores of a diagnosis, against scikit-learn.

use mtl_eval::recovery::{adjusted_rand, roc_auc};

use crate::fixture::cases;

#[test]
fn partitions_and_rankings() {
    for case in cases("recovery") {
        case.expect("adjusted Rand index", 2, adjusted_rand(&case.digits(0), &case.digits(1)), 1e-9);
        let positive: Vec<bool> = case.digits(4).iter().map(|&digit| digit == 1).collect();
        let area = roc_auc(&case.numbers(3), &positive);
        assert_eq!(area.is_some(), case.maybe(5).is_some());
        if let Some(area) = area {
            case.expect("area", 5, area, 1e-9);
        }
    }
}
