//! One sign for each element, and what agrees with it: steps 2 and 3 of TIES, which DARE and TALL masks may use too.

use serde::{Deserialize, Serialize};

/// What is made of the values that have the elected sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    /// Their mean, the paper's.
    Mean,
    /// Their sum.
    Sum,
    /// The one of the largest magnitude.
    Max,
}

/// For each element: the sign γ = sgn(Σ τₖ), and the mean, sum or largest of those τₖ that have it; 0 where γ is.
pub(crate) fn agreed(deltas: &[Vec<f64>], aggregate: Aggregate) -> Vec<f64> {
    let length = deltas.first().map_or(0, Vec::len);
    let element = |at: usize| {
        let all = deltas.iter().map(|delta| delta[at]);
        let total: f64 = all.clone().sum();
        if total == 0.0 {
            return 0.0;
        }
        let agreeing = all.filter(|value| *value != 0.0 && (*value > 0.0) == (total > 0.0));
        match aggregate {
            Aggregate::Mean => {
                let (sum, count) = agreeing.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
                if count > 0 { sum / f64::from(count) } else { 0.0 }
            }
            Aggregate::Sum => agreeing.sum(),
            Aggregate::Max => {
                agreeing.fold(0.0, |most: f64, value| if value.abs() > most.abs() { value } else { most })
            }
        }
    };
    (0..length).map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_against_the_elected_sign_are_left_out() {
        let deltas = [vec![1.0, -1.0, 2.0, 0.0], vec![3.0, 1.0, -1.0, 0.0], vec![-1.0, 0.0, 0.0, 0.0]];
        assert_eq!(agreed(&deltas, Aggregate::Mean), [2.0, 0.0, 2.0, 0.0]);
        assert_eq!(agreed(&deltas, Aggregate::Sum), [4.0, 0.0, 2.0, 0.0]);
        assert_eq!(agreed(&deltas, Aggregate::Max), [3.0, 0.0, 2.0, 0.0]);
    }
}
