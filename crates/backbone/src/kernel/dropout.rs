//! Dropout masks that are computed, never stored: element i is kept if hash(seed, i) ≥ p·2³², and scaled by 1/(1 − p).

use rayon::prelude::*;

use super::CHUNK;

/// One site's mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    threshold: u32,
    scale: f32,
    seed: u32,
}

impl Dropout {
    /// Drops each element with `probability` (0 ≤ p < 1), by a mask named by `seed`.
    pub fn new(probability: f64, seed: u64) -> Self {
        let threshold = (probability * 4_294_967_296.).round().min(f64::from(u32::MAX)) as u32;
        Self { threshold, scale: (1. / (1. - probability)) as f32, seed: mix(seed as u32 ^ mix((seed >> 32) as u32)) }
    }

    /// Keeps everything.
    pub fn none() -> Self {
        Self { threshold: 0, scale: 1., seed: 0 }
    }

    /// Whether everything is kept.
    pub fn is_none(self) -> bool {
        self.threshold == 0
    }

    /// What each of `count` elements is multiplied by, made on all threads: for devices that take a mask from the host.
    pub fn factors(self, count: usize) -> Vec<f32> {
        (0..count).into_par_iter().with_min_len(CHUNK).map(|index| self.factor(index)).collect()
    }

    /// What element `index` is multiplied by: 0, or 1/(1 − p). The index counts modulo 2³².
    #[inline(always)]
    pub fn factor(self, index: usize) -> f32 {
        if mix((index as u32).wrapping_mul(0x9e37_79b9) ^ self.seed) >= self.threshold { self.scale } else { 0. }
    }
}

/// The finaliser of MurmurHash3: every input bit flips every output bit with probability near one half.
#[inline(always)]
fn mix(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x85eb_ca6b);
    word ^= word >> 13;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^ word >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_kept_is_that_asked_for_and_the_mean_is_one() {
        for probability in [0.1, 0.5] {
            let dropout = Dropout::new(probability, 42);
            let factors: Vec<f32> = (0..100_000).map(|index| dropout.factor(index)).collect();
            assert_eq!(dropout.factors(100_000), factors);
            let dropped = factors.iter().filter(|factor| **factor == 0.).count() as f64 / 1e5;
            let mean = factors.iter().sum::<f32>() / 1e5;
            assert!((dropped - probability).abs() < 0.01 && (mean - 1.).abs() < 0.02, "{dropped} {mean}");
        }
        assert!((0..1000).all(|index| Dropout::none().factor(index) == 1.));
    }

    #[test]
    fn masks_of_two_seeds_are_independent() {
        let (a, b) = (Dropout::new(0.5, 1), Dropout::new(0.5, 2));
        let agree = (0..100_000).filter(|&index| (a.factor(index) == 0.) == (b.factor(index) == 0.)).count();
        assert!((49_000..51_000).contains(&agree), "{agree}");
    }
}
