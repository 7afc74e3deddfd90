//! Scores over a grid of learning rates, smoothed.
//!
//! Score over the logarithm of the rate is a smooth curve with a plateau; what stands out of its neighbours by some points
//! of twenty dev examples is luck, and by choosing it an arm would lose on test what it seemed to gain.

use anyhow::Result;

use super::rates;
use super::search::{Trial, without_rate};

/// What a neighbour on the grid weighs beside the rate itself.
const NEIGHBOUR: f64 = 0.5;

/// Gives every sound trial, task by task, the weighted mean of its score and of those of the next lower and next higher
/// rate that were tried with the same other keys; at an end there is one neighbour. What broke down is nobody's neighbour.
///
/// # Errors
/// If a value of `key` is no number.
pub(super) fn smooth(trials: &mut [Trial], key: &str) -> Result<()> {
    let mut grid: Vec<(usize, f64)> = Vec::new();
    for (at, trial) in trials.iter().enumerate().filter(|(_, trial)| trial.sound) {
        if let Some(value) = trial.combination.get(key) {
            grid.push((at, rates::number(value)?));
        }
    }
    grid.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut smoothed = Vec::new();
    for &(at, rate) in &grid {
        let Some(own) = trials.get(at) else { continue };
        let others = without_rate(&own.combination, key);
        let alike = |&&(other, _): &&(usize, f64)| {
            trials.get(other).is_some_and(|trial| without_rate(&trial.combination, key) == others)
        };
        let below = grid.iter().filter(|(_, value)| *value < rate).rfind(alike);
        let above = grid.iter().filter(|(_, value)| *value > rate).find(alike);
        let mut tasks = own.tasks.clone();
        for (task, score) in &mut tasks {
            let (mut sum, mut weight) = (*score, 1.);
            for &(other, _) in below.into_iter().chain(above) {
                if let Some(score) = trials.get(other).and_then(|trial| trial.tasks.get(task)) {
                    (sum, weight) = (sum + NEIGHBOUR * score, weight + NEIGHBOUR);
                }
            }
            *score = sum / weight;
        }
        smoothed.push((at, tasks));
    }
    for (at, tasks) in smoothed {
        if let Some(trial) = trials.get_mut(at) {
            trial.tasks = tasks;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn trial(rate: &str, decay: &str, score: f64, sound: bool) -> Trial {
        let combination = [("optimizer.scale", rate), ("optimizer.weight_decay", decay)];
        let combination = combination.map(|(key, value)| (key.to_string(), value.to_string())).into_iter().collect();
        Trial { combination, sound, tasks: BTreeMap::from([("a".to_string(), score)]) }
    }

    #[test]
    fn a_plateau_comes_before_a_peak_and_neighbours_have_the_same_other_keys() {
        let mut trials = vec![
            trial("3", "0", 0.97, true),
            trial("0.1", "0", 0.93, true),
            trial("0.3", "0", 0.92, true),
            trial("1", "0", 0.85, true),
            trial("0.03", "0", 0.93, true),
            trial("9", "0", 0.82, true),
            trial("0.3", "0.1", 0.5, true),
            trial("27", "0", 0.1, false),
        ];
        smooth(&mut trials, "optimizer.scale").expect("numbers");
        let scores: Vec<f64> = trials.iter().map(|trial| trial.tasks["a"]).collect();
        let expected = [
            (0.97 + (0.85 + 0.82) / 2.) / 2.,
            (0.93 + (0.93 + 0.92) / 2.) / 2.,
            (0.92 + (0.93 + 0.85) / 2.) / 2.,
            (0.85 + (0.92 + 0.97) / 2.) / 2.,
            (0.93 + 0.93 / 2.) / 1.5,
            (0.82 + 0.97 / 2.) / 1.5,
            0.5,
            0.1,
        ];
        for (found, right) in scores.iter().zip(expected) {
            assert!((found - right).abs() < 1e-12, "{scores:?} against {expected:?}");
        }
        let best = trials.iter().max_by(|a, b| a.tasks["a"].total_cmp(&b.tasks["a"])).expect("trials");
        assert_eq!(best.combination["optimizer.scale"], "0.03");
    }
}
