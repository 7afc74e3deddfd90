//! Overfitting of one task, read off its train and dev scores over training: with b the moment of the best dev score
//! and T the last one, and g = train − dev,
//!
//! gap = g(T), lost = dev(b) − dev(T), index = max(g(T) − g(b), 0): what training gained on its own examples after b
//! plus what it lost on dev.

use serde::{Deserialize, Serialize};

/// Scores of one task at one evaluation, higher is better (negate losses).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// The step.
    pub step: usize,
    /// Score on training examples.
    pub train: f64,
    /// Score on dev.
    pub dev: f64,
}

/// How far a task's training went past its best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overfitting {
    /// The step of the best dev score, the first one of equals.
    pub best_step: usize,
    /// Train − dev at that step.
    pub gap_at_best: f64,
    /// Train − dev at the end: the generalisation gap.
    pub gap: f64,
    /// Best − last dev score, at least 0.
    pub lost: f64,
    /// Growth of the gap since the best step, at least 0: the overfitting index.
    pub index: f64,
}

/// Reads a curve in order of steps; `None` if it has no moment, or one that is not finite.
pub fn overfitting(curve: &[Moment]) -> Option<Overfitting> {
    let last = curve.last()?;
    if !curve.iter().all(|moment| moment.train.is_finite() && moment.dev.is_finite()) {
        return None;
    }
    let best = curve.iter().fold(last, |best, moment| {
        if moment.dev > best.dev || (moment.dev == best.dev && moment.step < best.step) { moment } else { best }
    });
    let (gap_at_best, gap) = (best.train - best.dev, last.train - last.dev);
    Some(Overfitting {
        best_step: best.step,
        gap_at_best,
        gap,
        lost: best.dev - last.dev,
        index: (gap - gap_at_best).max(0.),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(scores: &[(f64, f64)]) -> Vec<Moment> {
        scores.iter().enumerate().map(|(step, &(train, dev))| Moment { step, train, dev }).collect()
    }

    #[test]
    fn a_curve_past_its_best_shows_it() {
        let found = overfitting(&curve(&[(0.5, 0.5), (0.75, 0.625), (0.875, 0.625), (1., 0.5)])).expect("a curve");
        let expected = Overfitting { best_step: 1, gap_at_best: 0.125, gap: 0.5, lost: 0.125, index: 0.375 };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_curve_that_still_rises_has_no_overfitting() {
        let found = overfitting(&curve(&[(0.5, 0.5), (0.75, 0.75)])).expect("a curve");
        assert_eq!((found.best_step, found.lost, found.index), (1, 0., 0.));
        assert_eq!(overfitting(&[]), None);
        assert_eq!(overfitting(&curve(&[(f64::NAN, 0.)])), None);
    }
}
