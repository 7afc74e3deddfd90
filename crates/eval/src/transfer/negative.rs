//! Transfer per task: the multi-task score minus the single-task score, and how many tasks it surely hurts.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::stats::{Interval, holm};

/// What one task gained; positive is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// The task.
    pub task: String,
    /// The gain in score, with its interval and p.
    pub gain: Interval,
    /// p by Holm's correction over the tasks.
    pub corrected_p: f64,
}

impl Transfer {
    /// The transfer of each task of `gains`, p corrected over all of them.
    ///
    /// # Errors
    /// If a p is no probability.
    pub fn of(gains: Vec<(String, Interval)>) -> Result<Vec<Self>> {
        let corrected = holm(&gains.iter().map(|(_, gain)| gain.p).collect::<Vec<_>>())?;
        let named = gains.into_iter().zip(corrected);
        Ok(named.map(|((task, gain), corrected_p)| Self { task, gain, corrected_p }).collect())
    }

    /// Whether the task is hurt at significance `level` after correction.
    pub fn is_negative(&self, level: f64) -> bool {
        self.gain.estimate < 0. && self.corrected_p <= level
    }
}

/// The share of tasks with significant negative transfer at `level`, in [0, 1]; 0 for no tasks.
pub fn negative_share(transfers: &[Transfer], level: f64) -> f64 {
    let hurt = transfers.iter().filter(|transfer| transfer.is_negative(level)).count();
    hurt as f64 / transfers.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_significant_losses_count_and_p_is_corrected() {
        let gain = |estimate: f64, p: f64| Interval {
            estimate,
            low: estimate - 0.1,
            high: estimate + 0.1,
            confidence: 0.95,
            standard_error: 0.05,
            degrees: 9.,
            p,
            examples: 10,
            seeds: 5,
        };
        let named = [("a", -0.2, 0.001), ("b", -0.1, 0.03), ("c", 0.2, 0.001), ("d", -0.1, 0.5)];
        let transfers = Transfer::of(named.iter().map(|(task, d, p)| (task.to_string(), gain(*d, *p))).collect())
            .expect("probabilities");
        assert!(transfers[0].is_negative(0.05) && !transfers[2].is_negative(0.05));
        assert_eq!(transfers[1].corrected_p, 0.06);
        assert_eq!(negative_share(&transfers, 0.05), 0.25);
        assert_eq!(negative_share(&[], 0.05), 0.);
    }
}
