//! Does the paired bootstrap's 95 % interval hold the true difference 93–97 % of the time?

use mtl_eval::stats::{Bootstrap, Interval, paired_bootstrap};
use mtl_task::rng::{Key, Stream};
use rayon::prelude::*;

const EXAMPLES: usize = 120;
const DATASETS: u64 = 2000;

/// The interval of the mean of `table`, `[seeds][examples]`.
fn interval(table: &[Vec<f64>], key: Key) -> Interval {
    let settings = Bootstrap { resamples: 200, ..Bootstrap::default() };
    let per_seed = |examples: &[usize]| -> Vec<f64> {
        table.iter().map(|row| examples.iter().map(|&e| row[e]).sum::<f64>() / examples.len() as f64).collect()
    };
    paired_bootstrap(table[0].len(), key, &settings, per_seed).expect("a sound table")
}

/// The share of simulated tables whose interval holds `truth`.
fn coverage(name: &str, truth: f64, simulate: impl Fn(&mut Stream) -> Vec<Vec<f64>> + Sync) -> f64 {
    let key = Key::new(20).named(name);
    let held: usize = (0..DATASETS)
        .into_par_iter()
        .map(|dataset| {
            let key = key.with(dataset);
            let found = interval(&simulate(&mut key.named("data").stream()), key.named("bootstrap"));
            usize::from(found.low <= truth && truth <= found.high)
        })
        .sum();
    held as f64 / DATASETS as f64
}

/// Differences made of a mean, a seed's effect, an example's effect and noise of given standard deviations.
fn crossed(seeds: usize, mean: f64, [seed, example, noise]: [f64; 3]) -> impl Fn(&mut Stream) -> Vec<Vec<f64>> {
    move |stream| {
        let examples: Vec<f64> = (0..EXAMPLES).map(|_| example * stream.normal()).collect();
        (0..seeds)
            .map(|_| {
                let centre = mean + seed * stream.normal();
                examples.iter().map(|effect| centre + effect + noise * stream.normal()).collect()
            })
            .collect()
    }
}

/// Differences of two classifiers' right answers; examples differ in difficulty, seeds in skill.
fn right_answers(seeds: usize) -> impl Fn(&mut Stream) -> Vec<Vec<f64>> {
    move |stream| {
        let difficulty: Vec<f64> = (0..EXAMPLES).map(|_| 0.4 * stream.uniform()).collect();
        (0..seeds)
            .map(|_| {
                let skill = 0.02 * stream.normal();
                let mut right = |base: f64, hard: f64| f64::from(u8::from(stream.uniform() < base - hard));
                difficulty.iter().map(|&hard| right(0.9 + skill, hard) - right(0.85, hard)).collect()
            })
            .collect()
    }
}

#[test]
fn the_interval_covers_what_it_says() {
    let cases = [
        ("examples differ, 5 seeds", coverage("a", 0.1, crossed(5, 0.1, [0., 1., 0.3]))),
        ("seeds differ, 5 seeds", coverage("b", 0.1, crossed(5, 0.1, [1., 1., 0.3]))),
        ("both alike, 5 seeds", coverage("c", 0., crossed(5, 0., [0.1, 1., 1.]))),
        ("both alike, 20 seeds", coverage("d", 0., crossed(20, 0., [0.1, 0.5, 1.]))),
        ("noise alone, 5 seeds", coverage("e", 0., crossed(5, 0., [0., 0., 1.]))),
        ("one seed", coverage("f", -1., crossed(1, -1., [0., 1., 1.]))),
        ("right answers, 5 seeds", coverage("g", 0.05, right_answers(5))),
    ];
    let failed: Vec<_> = cases.iter().filter(|(_, share)| !(0.93..=0.97).contains(share)).collect();
    assert!(failed.is_empty(), "{failed:?} of {cases:?}");
}
