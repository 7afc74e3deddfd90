//! Differences on resamples of the examples, seed by seed, and what they say together.

use anyhow::{Result, ensure};
use mtl_task::rng::Key;

use super::{Bootstrap, resampled};
use crate::stats::{Interval, mean, settled, variance};

/// Differences between two arms: on all examples, and on resamples of them.
#[derive(Clone, Debug)]
pub struct Resamples {
    /// Each seed's on all examples, `[seeds]`.
    whole: Vec<f64>,
    /// The same on every resample, `[resamples][seeds]`.
    drawn: Vec<Vec<f64>>,
    /// Examples that were resampled.
    examples: usize,
    /// By how much a fresh draw of examples varies more than a resample: N / (N − 1), 1 if that is in `drawn` already.
    fresh: f64,
    /// Degrees of freedom of the examples' variance.
    degrees: f64,
    /// Size of the scores that are compared: less than 1e-12 of it is noise of summation.
    size: f64,
}

impl Resamples {
    /// Of `per_seed`, which gives each seed's difference on a resample of the examples; `size` is the largest score
    /// behind them, 0 to keep every bit.
    pub(super) fn of(
        examples: usize,
        key: Key,
        settings: &Bootstrap,
        size: f64,
        per_seed: impl Fn(&[usize]) -> Vec<f64> + Sync,
    ) -> Result<Self> {
        ensure!(examples >= 2, "a bootstrap needs at least two examples, found {examples}");
        ensure!(settings.resamples >= 2, "a bootstrap needs at least two resamples, found {}", settings.resamples);
        let confidence = settings.confidence;
        ensure!(confidence > 0. && confidence < 1., "`confidence` must lie between 0 and 1, found {confidence}");
        let whole = per_seed(&(0..examples).collect::<Vec<_>>());
        ensure!(!whole.is_empty(), "a bootstrap needs at least one seed");
        let drawn = resampled(examples, key, settings.resamples, &per_seed);
        ensure!(whole.iter().chain(drawn.iter().flatten()).all(|d| d.is_finite()), "a resampled score is not finite");
        let count = examples as f64;
        Ok(Self { whole, drawn, examples, fresh: count / (count - 1.), degrees: count - 1., size })
    }

    /// Σ wᵢdᵢ of several differences of the same seeds, such as the mean over tasks with every w = 1 / tasks. Parts whose
    /// resamples have one key are taken to answer the same examples.
    ///
    /// # Errors
    /// If there is no part, or parts differ in their seeds or resamples.
    pub fn weighted(parts: &[(f64, &Self)]) -> Result<Self> {
        let Some((_, first)) = parts.first() else { anyhow::bail!("a mean of no differences") };
        for (_, part) in parts {
            let (seeds, resamples) = (part.whole.len(), part.drawn.len());
            ensure!(
                seeds == first.whole.len(),
                "differences over {seeds} seeds are averaged with {}",
                first.whole.len()
            );
            ensure!(resamples == first.drawn.len(), "{resamples} resamples are averaged with {}", first.drawn.len());
        }
        let size = parts.iter().map(|(weight, part)| weight.abs() * part.size).sum();
        let sum = |seed: usize| parts.iter().map(|(weight, part)| weight * part.whole[seed]).sum();
        let whole: Vec<f64> = (0..first.whole.len()).map(|seed| settled(sum(seed), size)).collect();
        let scales: Vec<f64> = parts.iter().map(|(weight, part)| weight * part.fresh.sqrt()).collect();
        let drawn_sum = |at: usize, seed: usize| {
            parts.iter().zip(&scales).map(|((_, part), scale)| scale * part.drawn[at][seed]).sum()
        };
        let drawn = (0..first.drawn.len()).map(|at| (0..whole.len()).map(|seed| drawn_sum(at, seed)).collect());
        let spreads: Vec<(f64, f64)> =
            parts.iter().map(|(weight, part)| (weight * weight * part.of_examples(), part.degrees)).collect();
        let total: f64 = spreads.iter().map(|(spread, _)| spread).sum();
        let spent: f64 = spreads.iter().map(|(spread, degrees)| spread * spread / degrees).sum();
        let fewest = parts.iter().map(|(_, part)| part.degrees).fold(f64::INFINITY, f64::min);
        Ok(Self {
            drawn: drawn.collect(),
            examples: parts.iter().map(|(_, part)| part.examples).sum(),
            fresh: 1.,
            degrees: if spent > 0. { total * total / spent } else { fewest },
            size,
            whole,
        })
    }

    /// Each seed's difference on all examples, `[seeds]`.
    pub fn seeds(&self) -> &[f64] {
        &self.whole
    }

    /// V_E: the variance that other examples would bring.
    fn of_examples(&self) -> f64 {
        variance(&self.drawn.iter().map(|row| mean(row)).collect::<Vec<_>>()) * self.fresh
    }

    /// The mean over seeds with its interval.
    ///
    /// # Errors
    /// If `confidence` is outside (0, 1).
    pub fn interval(&self, confidence: f64) -> Result<Interval> {
        ensure!(confidence > 0. && confidence < 1., "`confidence` must lie between 0 and 1, found {confidence}");
        // Beyond this range squares overflow or vanish; all that follows is as well done in units of the largest.
        let all = self.whole.iter().chain(self.drawn.iter().flatten());
        let largest = all.fold(0., |largest: f64, d| largest.max(d.abs()));
        let unit = if largest == 0. || (1e-100..1e100).contains(&largest) { 1. } else { largest };
        let measured = |row: &Vec<f64>| row.iter().map(|d| d / unit).collect::<Vec<f64>>();
        let plain = Self { whole: measured(&self.whole), drawn: self.drawn.iter().map(measured).collect(), ..*self };
        Ok(plain.student(confidence).times(unit))
    }

    fn student(&self, confidence: f64) -> Interval {
        let seeds = self.whole.len();
        let (estimate, seed_count) = (settled(mean(&self.whole), self.size), seeds as f64);
        let of_seeds = variance(&self.whole) / seed_count;
        let means: Vec<f64> = self.drawn.iter().map(|row| mean(row)).collect();
        let of_examples = self.of_examples();
        let apart = |seed: usize| {
            let apart = self.drawn.iter().zip(&means).map(|(row, mean)| row[seed] - mean);
            variance(&apart.collect::<Vec<_>>())
        };
        let of_both = (0..seeds).map(apart).sum::<f64>() * self.fresh / (seed_count * (seed_count - 1.).max(1.));
        let total = of_seeds + (of_examples - of_both).max(0.);
        let spent = of_seeds.powi(2) / (seed_count - 1.).max(1.) + of_examples.powi(2) / self.degrees;
        let degrees = if spent > 0. { total * total / spent } else { self.degrees };
        Interval::student(estimate, total.sqrt(), degrees, confidence, self.examples, seeds)
    }
}
