//! Expected gains of candidates that are chosen on dev: what it says of a candidate against the reference, paired example by example, shrunken towards none.

use serde::{Deserialize, Serialize};

/// Of the distribution of true gains in units of the standard deviation of an example's difference: what is believed
/// before anything is seen, and how many gains that is worth. A fifth of a deviation is what statistics calls a small
/// effect; neither number was tuned.
const PRIOR: (f64, f64) = (0.2, 4.);

/// A candidate's gain on a task.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// Mean of the reference's loss minus the candidate's over dev examples, in the loss's unit; above 0 is better.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// What is expected of it on new examples: the mean shrunken towards 0, d·τ²/(τ² + s²).
    pub expected: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The differences of one candidate on one task: reference minus candidate, example by example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    mean: f64,
    deviation: f64,
    count: f64,
}

impl Differences {
    /// Of losses of the same examples, the shorter of the two slices long.
    pub fn of(reference: &[f64], candidate: &[f64]) -> Self {
        let differences: Vec<f64> = reference.iter().zip(candidate).map(|(a, b)| a - b).collect();
        let count = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / count.max(1.);
        let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
        Self { mean, deviation: (squares / (count - 1.).max(1.)).sqrt(), count }
    }

    /// Their mean; above 0 the candidate is better.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard error of their mean.
    pub fn error(&self) -> f64 {
        self.deviation / self.count.max(1.).sqrt()
    }

    /// The gain in standard deviations; none if there is nothing to compare.
    fn effect(&self) -> Option<f64> {
        let effect = self.mean / self.deviation;
        (self.count >= 2. && effect.is_finite()).then_some(effect)
    }
}

/// τ², the variance of true effects over candidates and tasks, by moments, weighted by precision, and shrunken to
/// [`PRIOR`].
fn variance(all: &[Differences]) -> f64 {
    let (prior, worth) = (PRIOR.0 * PRIOR.0, PRIOR.1);
    let (mut sum, mut weights, mut count) = (0., 0., 0.);
    for found in all {
        let Some(effect) = found.effect() else { continue };
        let noise = 1. / found.count;
        let weight = 1. / (prior + noise).powi(2);
        sum += weight * (effect * effect - noise);
        weights += weight;
        count += 1.;
    }
    let seen = if weights > 0. { (sum / weights).max(0.) } else { 0. };
    (worth * prior + count * seen) / (worth + count)
}

/// The gain of each of `all`, which are of one choice and shrunken together.
pub fn gains(all: &[Differences]) -> Vec<Gain> {
    let variance = variance(all);
    let gain = |found: &Differences| {
        let noise = 1. / found.count.max(1.);
        let error = found.deviation * noise.sqrt();
        let kept = variance / (variance + noise);
        let expected = found.mean * kept;
        let half = 1.96 * found.deviation * (variance * noise / (variance + noise)).sqrt();
        Gain { mean: found.mean, error, expected, low: expected - half, high: expected + half }
    };
    all.iter().map(gain).collect()
}

#[cfg(test)]
mod tests {
    use mtl_task::rng::Key;

    use super::*;

    /// Differences of `count` examples around `effect` of deviation 1.
    fn differences(effect: f64, count: usize, key: Key) -> Differences {
        let mut stream = key.stream();
        let reference: Vec<f64> = (0..count).map(|_| effect + stream.normal()).collect();
        Differences::of(&reference, &vec![0.; count])
    }

    #[test]
    fn few_examples_say_little_and_many_say_what_they_show() {
        let found = gains(&[differences(0.5, 20, Key::new(1)), differences(0.5, 20_000, Key::new(2))]);
        assert!(found[0].expected.abs() < 0.9 * found[0].mean.abs() && found[0].error > 0.15, "{found:?}");
        assert!((found[1].expected - found[1].mean).abs() < 0.01 && found[1].low > 0.4, "{found:?}");
        // No difference at all is no gain, and no number is odd.
        let none = gains(&[Differences::of(&[1., 1.], &[1., 1.]), Differences::of(&[], &[])]);
        assert!(none.iter().all(|gain| gain.expected == 0. && gain.low == 0.), "{none:?}");
    }

    #[test]
    fn shrinking_comes_nearer_to_the_truth_than_the_means() {
        let (mut raw, mut shrunken) = (0., 0.);
        for trial in 0..200 {
            let key = Key::new(7).with(trial);
            let truths: Vec<f64> = (0..9).map(|at| 0.15 * key.named("truth").with(at).stream().normal()).collect();
            let all: Vec<Differences> =
                truths.iter().enumerate().map(|(at, truth)| differences(*truth, 20, key.with(at as u64))).collect();
            for (gain, truth) in gains(&all).iter().zip(&truths) {
                raw += (gain.mean - truth).powi(2);
                shrunken += (gain.expected - truth).powi(2);
            }
        }
        assert!(shrunken < 0.6 * raw, "{shrunken} against {raw}");
    }
}
