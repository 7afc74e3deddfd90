//! The one source of randomness: a counter-based generator, so that a number depends on *what it is for*
//! (seed, stream, step, layer) and never on what was drawn before it. Nothing has to be saved to resume a run.
//!
//! Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

/// Names one stream of random numbers. Keys are derived from keys, so streams with different paths are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u32; 2]);

impl Key {
    /// The root key of a run.
    pub fn new(seed: u64) -> Self {
        Self::from_u64(seed).with(0x6d74_6c00)
    }

    /// The key of sub-stream `index` of this stream.
    #[must_use]
    pub fn with(self, index: u64) -> Self {
        let word = philox([index as u32, (index >> 32) as u32, 0x9e37_79b9, 1], self.0);
        Self([word[0], word[1]])
    }

    /// The key of the sub-stream called `name`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        // FNV-1a, 64 bits: any fixed hash of the name will do, Philox does the mixing.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        self.with(hash)
    }

    /// 64 bits of this key, for generators that want a seed (dropout masks).
    pub fn bits(self) -> u64 {
        u64::from(self.0[0]) | u64::from(self.0[1]) << 32
    }

    /// The numbers of this stream, from its beginning.
    pub fn stream(self) -> Stream {
        Stream { key: self.0, counter: 0, words: [0; 4], used: 4 }
    }

    fn from_u64(bits: u64) -> Self {
        Self([bits as u32, (bits >> 32) as u32])
    }
}

/// Random numbers in order; made by [`Key::stream`].
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: u64,
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// Uniform over all 32-bit words.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let counter = [self.counter as u32, (self.counter >> 32) as u32, 0, 0];
            self.words = philox(counter, self.key);
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform over all 64-bit words.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// Uniform in [0, 1), 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..`bound`, without bias.
    ///
    /// # Panics
    /// If `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "a random index below 0 was asked for");
        let bound = bound as u64;
        // Lemire's rejection: draw again inside the short last interval.
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as usize;
            }
        }
    }

    /// Standard normal, by the Box–Muller transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts `items` into a uniformly random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A uniformly random order of 0..`count`.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        self.shuffle(&mut order);
        order
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let low = u64::from(counter[0]) * 0xd251_1f53;
        let high = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that Random123 ships for philox4x32-10.
    #[test]
    fn philox_gives_the_published_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let digits_of_pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox(digits_of_pi, [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn derived_streams_differ_and_repeat() {
        let root = Key::new(7);
        let draw = |key: Key| (0..8).map(|_| 0).scan(key.stream(), |s, _| Some(s.next_u64())).collect::<Vec<_>>();
        assert_eq!(draw(root.with(1)), draw(root.with(1)));
        assert_ne!(draw(root.with(1)), draw(root.with(2)));
        assert_ne!(draw(root.named("dropout")), draw(root.named("shuffle")));
        assert_ne!(draw(Key::new(7)), draw(Key::new(8)));
    }

    #[test]
    fn moments_and_bounds_are_those_of_the_distribution() {
        let mut stream = Key::new(1).stream();
        let count = 20_000;
        let normal: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
        let mean = normal.iter().sum::<f64>() / count as f64;
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
        let mut seen = [0usize; 7];
        (0..7000).for_each(|_| seen[stream.below(7)] += 1);
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Key::new(3).stream().permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
