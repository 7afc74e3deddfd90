//! Samplers: which examples a step sees, as pure functions of (seed, step), so that nothing has to be saved to resume.
//!
//! A sampler gives each task a share p_i of a step. In joint steps the batch × tasks examples of a step are divided by
//! largest remainder, at least one for each task; in one-task steps the task is drawn. A task's examples are walked
//! epoch after epoch, each in an order of its own; where in that walk a step begins follows from the shares alone.

use anyhow::{Context, Result, bail};
use mtl_task::TaskId;
use mtl_task::rng::Key;
use serde_json::{Value, json};

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name a recipe uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Its settings with every default written out.
    pub defaults: fn() -> Value,
    /// The shares, unnormalised, of tasks of these sizes, `fraction` of the way through training.
    weights: fn(&Value, &[usize], f64) -> Result<Vec<f64>>,
    /// Whether shares change on the way.
    moves: bool,
}

/// Every sampler, sorted by name.
pub const SAMPLERS: &[Entry] = &[
    Entry {
        name: "annealed",
        about: "p ∝ n^(1 − 0.8·progress): from proportional towards uniform (Stickland & Murray 2019)",
        defaults: || json!({ "floor": 0.2, "steps": 1000 }),
        weights: |settings, sizes, fraction| {
            let floor = number(settings, "floor", 0., 1.)?;
            powers(sizes, 1. - (1. - floor) * fraction)
        },
        moves: true,
    },
    Entry {
        name: "proportional",
        about: "p ∝ n, the number of training examples (at most `cap` of them counted; 0 for no cap)",
        defaults: || json!({ "cap": 0 }),
        weights: |settings, sizes, _| powers(&capped(settings, sizes), 1.),
        moves: false,
    },
    Entry {
        name: "temperature",
        about: "p ∝ min(n, cap)^(1/temperature)",
        defaults: || json!({ "temperature": 2.0, "cap": 0 }),
        weights: |settings, sizes, _| {
            powers(&capped(settings, sizes), 1. / number(settings, "temperature", 1e-3, f64::INFINITY)?)
        },
        moves: false,
    },
    Entry {
        name: "uniform",
        about: "every task the same share",
        defaults: || json!({}),
        weights: |_, sizes, _| powers(sizes, 0.),
        moves: false,
    },
];

/// The sampler called `name`.
///
/// # Errors
/// If there is none; names the nearest.
pub fn find(name: &str) -> Result<&'static Entry> {
    mtl_task::member("sampler", name, SAMPLERS, |entry| entry.name)
}

fn number(settings: &Value, key: &str, low: f64, high: f64) -> Result<f64> {
    let value = settings.get(key).and_then(Value::as_f64).with_context(|| format!("`{key}` must be a number"))?;
    if !(low..=high).contains(&value) {
        bail!("`{key}` must lie in [{low}, {high}], found {value}");
    }
    Ok(value)
}

fn capped(settings: &Value, sizes: &[usize]) -> Vec<usize> {
    let cap = settings.get("cap").and_then(Value::as_u64).filter(|&cap| cap > 0).map_or(usize::MAX, |cap| cap as usize);
    sizes.iter().map(|&size| size.min(cap)).collect()
}

fn powers(sizes: &[usize], exponent: f64) -> Result<Vec<f64>> {
    Ok(sizes.iter().map(|&size| (size as f64).powf(exponent)).collect())
}

/// Decides which examples each step sees.
#[derive(Clone, Debug)]
pub struct Sampler {
    entry: &'static str,
    settings: Value,
    sizes: Vec<usize>,
    key: Key,
}

impl Sampler {
    /// The sampler called `name` with `settings` over tasks of `sizes` training examples.
    ///
    /// # Errors
    /// If it is unknown, a setting is out of range, or a task has no example.
    pub fn new(name: &str, settings: &Value, sizes: &[usize], seed: u64) -> Result<Self> {
        let entry = find(name)?;
        if let Some(task) = sizes.iter().position(|&size| size == 0) {
            bail!("task {task} has no training example");
        }
        (entry.weights)(settings, sizes, 0.)?;
        let key = Key::new(seed).named("sampler");
        Ok(Self { entry: entry.name, settings: settings.clone(), sizes: sizes.to_vec(), key })
    }

    /// The share of each task at `step`; they sum to 1.
    pub fn shares(&self, step: usize) -> Vec<f64> {
        let horizon = self.settings.get("steps").and_then(Value::as_u64).unwrap_or(1).max(1) as f64;
        let fraction = (step as f64 / horizon).min(1.);
        let weights = find(self.entry)
            .and_then(|entry| (entry.weights)(&self.settings, &self.sizes, fraction))
            .unwrap_or_else(|_| vec![1.; self.sizes.len()]);
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// How many examples of each task a joint step of `batch` examples a task has: all of them `batch` × tasks, at
    /// least one each.
    pub fn counts(&self, step: usize, batch: usize) -> Vec<usize> {
        let spare = batch.saturating_sub(1) * self.sizes.len();
        let exact: Vec<f64> = self.shares(step).iter().map(|share| share * spare as f64).collect();
        let mut counts: Vec<usize> = exact.iter().map(|&x| 1 + x.floor() as usize).collect();
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by(|&a, &b| (exact[b].fract()).total_cmp(&exact[a].fract()).then(a.cmp(&b)));
        let missing = batch * self.sizes.len() - counts.iter().sum::<usize>();
        order.iter().cycle().take(missing).for_each(|&task| counts[task] += 1);
        counts
    }

    /// Joint step `step`: the examples of every task.
    pub fn joint(&self, step: usize, batch: usize) -> Vec<(TaskId, Vec<usize>)> {
        let now = self.counts(step, batch);
        let before: Vec<usize> = if find(self.entry).is_ok_and(|entry| entry.moves) {
            (0..step).fold(vec![0; now.len()], |sum, step| {
                sum.iter().zip(self.counts(step, batch)).map(|(sum, count)| sum + count).collect()
            })
        } else {
            now.iter().map(|count| count * step).collect()
        };
        (0..now.len()).map(|task| (TaskId(task), self.walk(task, before[task], now[task]))).collect()
    }

    /// One-task step `step`: the drawn task and its examples.
    pub fn one(&self, step: usize, batch: usize) -> Vec<(TaskId, Vec<usize>)> {
        let task = self.drawn(step);
        let before = (0..step).filter(|&earlier| self.drawn(earlier) == task).count();
        vec![(TaskId(task), self.walk(task, before * batch, batch))]
    }

    /// `batch` examples of `task` for the `index`-th time that it is asked alone.
    pub fn examples(&self, task: TaskId, index: usize, batch: usize) -> Vec<usize> {
        self.walk(task.0, index * batch, batch)
    }

    fn drawn(&self, step: usize) -> usize {
        let at = self.key.named("task").with(step as u64).stream().uniform();
        let mut sum = 0.;
        let shares = self.shares(step);
        shares
            .iter()
            .position(|share| {
                sum += share;
                at < sum
            })
            .unwrap_or(shares.len() - 1)
    }

    /// Examples `start..start + count` of the endless walk through a task's epochs.
    fn walk(&self, task: usize, start: usize, count: usize) -> Vec<usize> {
        let size = self.sizes[task];
        let key = self.key.named("order").with(task as u64);
        let mut examples = Vec::with_capacity(count);
        let mut at = start;
        while examples.len() < count {
            let order = key.with((at / size) as u64).stream().permutation(size);
            let from = at % size;
            let take = (size - from).min(count - examples.len());
            examples.extend(&order[from..from + take]);
            at += take;
        }
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(name: &str, sizes: &[usize]) -> Sampler {
        Sampler::new(name, &(find(name).expect("known").defaults)(), sizes, 3).expect("valid")
    }

    #[test]
    fn an_epoch_sees_every_example_once_and_the_next_in_another_order() {
        let sampler = sampler("uniform", &[10, 7]);
        let steps: Vec<usize> = (0..4).flat_map(|step| sampler.joint(step, 5)[0].1.clone()).collect();
        let (mut first, mut second) = (steps[..10].to_vec(), steps[10..].to_vec());
        assert_ne!(first, second);
        first.sort_unstable();
        second.sort_unstable();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
        assert_eq!(second, first);
    }

    #[test]
    fn counts_follow_the_shares_and_leave_nobody_out() {
        assert_eq!(sampler("uniform", &[10, 10_000]).counts(0, 8), [8, 8]);
        assert_eq!(sampler("proportional", &[10, 10_000]).counts(0, 8), [1, 15]);
        let annealed = sampler("annealed", &[100, 10_000]);
        assert!(annealed.shares(0)[0] < annealed.shares(500)[0] && annealed.shares(500)[0] < annealed.shares(1000)[0]);
        for sampler in SAMPLERS.iter().map(|entry| sampler(entry.name, &[5, 50, 500])) {
            for step in [0, 10, 2000] {
                let counts = sampler.counts(step, 4);
                assert_eq!(counts.iter().sum::<usize>(), 12, "{counts:?}");
                assert!(counts.iter().all(|&count| count > 0));
            }
        }
    }

    #[test]
    fn one_task_steps_walk_each_task_without_gaps() {
        let sampler = sampler("proportional", &[6, 6]);
        let mut seen = [Vec::new(), Vec::new()];
        for step in 0..30 {
            for (task, examples) in sampler.one(step, 2) {
                seen[task.0].extend(examples);
            }
        }
        for walk in seen {
            for epoch in walk.chunks_exact(6) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                assert_eq!(epoch, [0, 1, 2, 3, 4, 5]);
            }
        }
    }
}
