//! What is tried: the same combinations for every arm, and as many for those with settings of their own.

use std::collections::BTreeMap;

use mtl_task::rng::{Key, Stream};

use super::Combination;
use crate::experiment::{Keys, Method, Tune};

impl Tune {
    /// How many combinations each rung tries.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![self.combinations().len()];
        while let (Method::Halving, Some(&last)) = (self.method, sizes.last()) {
            if last <= 2 {
                break;
            }
            sizes.push(last.div_ceil(2));
        }
        sizes
    }

    pub(crate) fn rungs(&self) -> usize {
        self.sizes().len()
    }

    /// Steps on `rung`, and on the stages after the last one, for an arm whose final runs have `full`.
    pub(crate) fn steps_of(&self, rung: usize, full: usize) -> usize {
        let last = self.steps.unwrap_or(full);
        last.div_ceil(1 << ((self.rungs() - 1).saturating_sub(rung)).min(30)).max(1)
    }

    /// The combinations that are tried first, the same ones for every arm.
    pub(super) fn combinations(&self) -> Vec<Combination> {
        let ranges = self.keys.values().any(|values| matches!(values, Keys::Range { .. }));
        if !ranges {
            let all = self.product();
            let budget = if self.method == Method::Grid || self.budget == 0 { all.len() } else { self.budget };
            if budget >= all.len() {
                return all;
            }
            let mut drawn = Key::new(0).named("tune").stream().permutation(all.len())[..budget].to_vec();
            drawn.sort_unstable();
            return drawn.into_iter().map(|at| all[at].clone()).collect();
        }
        // Whatever else is drawn is drawn so often that each of it meets several rates: tasks that never meet can then take
        // a rate each.
        let rate = self.rate_key().filter(|_| self.crossed && self.keys.len() > 1);
        let others = self.budget.isqrt().max(1);
        let draw = |at: usize| {
            let key = Key::new(0).named("tune");
            let mut stream = key.with(at as u64).stream();
            let mut of_others = key.named("others").with((at % others) as u64).stream();
            let value = |(key, values): (&String, &Keys)| {
                let own = rate.is_none_or(|rate| rate == key);
                (key.clone(), values.draw(if own { &mut stream } else { &mut of_others }))
            };
            self.keys.iter().map(value).collect()
        };
        (0..self.budget).map(draw).collect()
    }

    /// The combinations that an arm with settings of its `own` tries first: those of every arm, to each of which a value of
    /// each of its own is dealt, each value as often as the next.
    pub(super) fn combinations_with(&self, own: &BTreeMap<String, Keys>) -> Vec<Combination> {
        let mut all = self.combinations();
        for (name, values) in own {
            let key = Key::new(0).named("tune").named(name);
            match values {
                Keys::List(values) => {
                    let mut places = Vec::with_capacity(all.len());
                    while places.len() < all.len() {
                        places.extend(key.with(places.len() as u64).stream().permutation(values.len()));
                    }
                    for (combination, place) in all.iter_mut().zip(places) {
                        combination.insert(name.clone(), values[place].to_string());
                    }
                }
                Keys::Range { .. } => {
                    for (at, combination) in all.iter_mut().enumerate() {
                        combination.insert(name.clone(), values.draw(&mut key.with(at as u64).stream()));
                    }
                }
            }
        }
        all
    }

    fn product(&self) -> Vec<Combination> {
        let mut all = vec![Combination::new()];
        for (key, values) in &self.keys {
            let Keys::List(values) = values else { continue };
            let with = |known: &Combination, value: &toml::Value| {
                let mut longer = known.clone();
                longer.insert(key.clone(), value.to_string());
                longer
            };
            all = all.iter().flat_map(|known| values.iter().map(move |value| with(known, value))).collect();
        }
        all
    }
}

impl Keys {
    fn draw(&self, stream: &mut Stream) -> String {
        match self {
            Self::List(values) => values[stream.below(values.len())].to_string(),
            Self::Range { low, high } => {
                // Three digits are as many as a tuned rate has a use for.
                format!("{:.2e}", (low.ln() + (high.ln() - low.ln()) * stream.uniform()).exp())
            }
        }
    }
}
