//! Samplers: which examples a step sees, as pure functions of (seed, step), so that nothing has to be saved to resume.
//!
//! A sampler gives each task a share p_i of a step. In joint steps the batch × tasks examples of a step are divided by
//! largest remainder, at least one for each task; in one-task steps the task is drawn. A task's examples are walked
//! epoch after epoch, each in an order of its own; where in that walk a step begins follows from the shares alone.
//! A task may have a weight, which its share is multiplied by, and a number of examples of its own, which are then
//! exactly those of its steps: of a joint step the others divide batch × their number.
//!
//! The shares are what a [`SamplerKind`] says, a member of a registry ([`crate::samplers`]).

#![expect(clippy::indexing_slicing, reason = "an index is a task's, whose sizes and counts were made together")]

use anyhow::{Result, bail};
use mtl_task::TaskId;
use mtl_task::rng::Key;
use serde_json::Value;

/// A sampler, by its name.
#[derive(Clone, Copy, Debug)]
pub struct SamplerKind {
    /// The name a recipe uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Its settings with every default written out, an object. `steps`, if there is such a setting, is the number of
    /// steps over which shares change; 0 for all of the run's.
    pub defaults: fn() -> Value,
    /// The shares, unnormalised and at least 0, of tasks of these sizes under these settings, a fraction in [0, 1] of
    /// `steps` of the way through training. Says what is wrong with the settings, whatever the sizes.
    pub weights: fn(&Value, &[usize], f64) -> Result<Vec<f64>>,
    /// Whether shares change on the way.
    pub moves: bool,
}

/// Decides which examples each step sees.
#[derive(Clone, Debug)]
pub struct Sampler {
    kind: SamplerKind,
    settings: Value,
    sizes: Vec<usize>,
    key: Key,
    /// Steps of the run, and how many times a step of it asks.
    steps: usize,
    draws: usize,
    /// What each task's share is multiplied by; empty for nothing.
    weights: Vec<f64>,
    /// The examples of those tasks in a step that do not share in its batch; empty for none.
    own: Vec<Option<usize>>,
}

impl Sampler {
    /// The sampler of `kind` with `settings` over tasks of `sizes` training examples.
    ///
    /// # Errors
    /// If a setting is out of range, a task has no example, or the shares are not one finite number of at least 0 a task
    /// that do not all vanish.
    pub fn new(kind: &SamplerKind, settings: &Value, sizes: &[usize], seed: u64) -> Result<Self> {
        if let Some(task) = sizes.iter().position(|&size| size == 0) {
            bail!("task {task} has no training example");
        }
        for fraction in [0., 1.] {
            let weights = (kind.weights)(settings, sizes, fraction)?;
            let sound = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.);
            if weights.len() != sizes.len() || !sound || weights.iter().sum::<f64>() <= 0. {
                bail!(
                    "sampler `{}` gives tasks of {sizes:?} examples the shares {weights:?}; one finite number of at \
                     least 0 for each was expected, not all of them 0",
                    kind.name
                );
            }
        }
        let key = Key::new(seed).named("sampler");
        Ok(Self {
            kind: *kind,
            settings: settings.clone(),
            sizes: sizes.to_vec(),
            key,
            steps: 1,
            draws: 1,
            weights: Vec::new(),
            own: Vec::new(),
        })
    }

    /// The same sampler in a run of `steps` steps, each of which asks `draws` times: shares change with the run's steps,
    /// while the walk through the examples goes on from draw to draw.
    #[must_use]
    pub fn paced(self, steps: usize, draws: usize) -> Self {
        Self { steps: steps.max(1), draws: draws.max(1), ..self }
    }

    /// The same sampler whose shares are multiplied by `weights`, one above 0 for each task, where these are not all 1.
    #[must_use]
    pub fn weighted(self, weights: Vec<f64>) -> Self {
        let weights = if weights.iter().all(|weight| *weight == 1.) { Vec::new() } else { weights };
        Self { weights, ..self }
    }

    /// The same sampler, under which tasks that have a number in `own` have as many examples in each of their steps.
    #[must_use]
    pub fn with_own(self, own: Vec<Option<usize>>) -> Self {
        let own = if own.iter().all(Option::is_none) { Vec::new() } else { own };
        Self { own, ..self }
    }

    /// The examples of `task` in a step of `batch`, if they are its own.
    fn own(&self, task: usize) -> Option<usize> {
        self.own.get(task).copied().flatten()
    }

    /// The share of each task at draw `step`; they sum to 1.
    pub fn shares(&self, step: usize) -> Vec<f64> {
        let stated = self.settings.get("steps").and_then(Value::as_u64).filter(|steps| *steps > 0);
        let horizon = stated.unwrap_or(self.steps as u64) as f64;
        let fraction = ((step / self.draws) as f64 / horizon).min(1.);
        let mut weights =
            (self.kind.weights)(&self.settings, &self.sizes, fraction).unwrap_or_else(|_| vec![1.; self.sizes.len()]);
        weights.iter_mut().zip(&self.weights).for_each(|(share, weight)| *share *= weight);
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// How many examples of each task a joint step of `batch` examples a task has: all of them `batch` × tasks, at
    /// least one each.
    pub fn counts(&self, step: usize, batch: usize) -> Vec<usize> {
        if !self.own.is_empty() {
            return self.counts_beside_own(step, batch);
        }
        let spare = batch.saturating_sub(1) * self.sizes.len();
        let exact: Vec<f64> = self.shares(step).iter().map(|share| share * spare as f64).collect();
        let mut counts: Vec<usize> = exact.iter().map(|&x| 1 + x.floor() as usize).collect();
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by(|&a, &b| (exact[b].fract()).total_cmp(&exact[a].fract()).then(a.cmp(&b)));
        let missing = batch * self.sizes.len() - counts.iter().sum::<usize>();
        order.iter().cycle().take(missing).for_each(|&task| counts[task] += 1);
        counts
    }

    /// As [`Sampler::counts`], where some tasks have their own.
    fn counts_beside_own(&self, step: usize, batch: usize) -> Vec<usize> {
        let (shares, tasks) = (self.shares(step), 0..self.sizes.len());
        let free: Vec<usize> = tasks.filter(|&task| self.own(task).is_none()).collect();
        let sum: f64 = free.iter().map(|&task| shares[task]).sum();
        let share = |task: usize| if sum > 0. { shares[task] / sum } else { 1. / free.len() as f64 };
        let spare = batch.saturating_sub(1) * free.len();
        let mut counts: Vec<usize> = (0..self.sizes.len()).map(|task| self.own(task).unwrap_or(1)).collect();
        let exact: Vec<f64> = free.iter().map(|&task| share(task) * spare as f64).collect();
        free.iter().zip(&exact).for_each(|(&task, exact)| counts[task] += exact.floor() as usize);
        let mut order: Vec<usize> = (0..free.len()).collect();
        order.sort_by(|&a, &b| (exact[b].fract()).total_cmp(&exact[a].fract()).then(a.cmp(&b)));
        let missing = spare.saturating_sub(exact.iter().map(|exact| exact.floor() as usize).sum());
        order.iter().cycle().take(missing).for_each(|&place| counts[free[place]] += 1);
        counts
    }

    /// Mean number of examples of `task` in a step of `batch` examples a task, over a run of `steps` steps: joint ones, or
    /// of one drawn task.
    pub fn mean_count(&self, task: TaskId, batch: usize, joint: bool, steps: usize) -> f64 {
        const LOOKS: usize = 64;
        let run = self.clone().paced(steps, 1);
        let looks = if self.kind.moves { LOOKS.min(steps.max(1)) } else { 1 };
        let count = |step: usize| match joint {
            true => run.counts(step, batch)[task.0] as f64,
            false => run.shares(step)[task.0] * self.own(task.0).unwrap_or(batch) as f64,
        };
        let spread = |look: usize| (look as u128 * steps.max(1) as u128 / looks as u128) as usize;
        (0..looks).map(|look| count(spread(look))).sum::<f64>() / looks as f64
    }

    /// Joint step `step`: the examples of every task.
    pub fn joint(&self, step: usize, batch: usize) -> Vec<(TaskId, Vec<usize>)> {
        let now = self.counts(step, batch);
        let before: Vec<usize> = if self.kind.moves {
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
        let batch = self.own(task).unwrap_or(batch);
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
    use mtl_task::Registry;

    use super::*;

    fn sampler(name: &str, sizes: &[usize]) -> Sampler {
        let samplers = Registry::<SamplerKind>::default();
        let kind = samplers.find(name).expect("known");
        Sampler::new(kind, &(kind.defaults)(), sizes, 3).expect("valid")
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
        let annealed = sampler("annealed", &[100, 10_000]).paced(1000, 1);
        assert!(annealed.shares(0)[0] < annealed.shares(500)[0] && annealed.shares(500)[0] < annealed.shares(1000)[0]);
        for sampler in Registry::<SamplerKind>::default().iter().map(|kind| sampler(kind.name, &[5, 50, 500])) {
            for step in [0, 10, 2000] {
                let counts = sampler.counts(step, 4);
                assert_eq!(counts.iter().sum::<usize>(), 12, "{counts:?}");
                assert!(counts.iter().all(|&count| count > 0));
            }
        }
    }

    #[test]
    fn a_task_may_have_a_weight_and_examples_of_its_own() {
        let sampler = |own: &[Option<usize>], weights: &[f64], name: &str| {
            sampler(name, &[10, 1000, 1000]).with_own(own.to_vec()).weighted(weights.to_vec())
        };
        let even = [1., 1., 1.];
        let own = sampler(&[Some(3), None, None], &even, "proportional");
        assert_eq!(own.counts(0, 8), [3, 8, 8]);
        assert_eq!(own.joint(5, 8)[0].1.len(), 3);
        // Steps go on where the one before ended.
        let walked: Vec<usize> = (0..10).flat_map(|step| own.joint(step, 8)[0].1.clone()).collect();
        let mut epochs: Vec<Vec<usize>> = walked.chunks(10).map(<[usize]>::to_vec).collect();
        epochs.iter_mut().for_each(|epoch| epoch.sort_unstable());
        assert!(epochs.iter().all(|epoch| *epoch == (0..10).collect::<Vec<_>>()), "{epochs:?}");
        assert_eq!(sampler(&[Some(3), Some(2), Some(1)], &even, "uniform").counts(7, 8), [3, 2, 1]);
        assert_eq!(sampler(&[None; 3], &[1., 3., 1.], "uniform").counts(0, 6), [4, 10, 4]);
        assert_eq!(sampler(&[Some(2), None, None], &[1., 3., 1.], "uniform").counts(0, 5), [2, 7, 3]);
        let drawn = |weights: &[f64]| {
            let sampler = sampler(&[Some(3), None, None], weights, "uniform");
            let steps: Vec<_> = (0..400).map(|step| sampler.one(step, 8).swap_remove(0)).collect();
            assert!(steps.iter().all(|(task, chosen)| chosen.len() == if task.0 == 0 { 3 } else { 8 }));
            steps.iter().filter(|(task, _)| task.0 == 0).count()
        };
        assert!((100..170).contains(&drawn(&even)) && drawn(&[8., 1., 1.]) > 280);
    }

    #[test]
    fn the_mean_count_is_that_of_the_steps() {
        for (name, joint) in [("uniform", true), ("proportional", true), ("annealed", true), ("temperature", false)] {
            let (sampler, steps) = (sampler(name, &[50, 500]), 200);
            let found = sampler.mean_count(TaskId(0), 8, joint, steps);
            let run = sampler.paced(steps, 1);
            let count = |step| match joint {
                true => run.joint(step, 8)[0].1.len(),
                false => run.one(step, 8).iter().map(|(task, chosen)| if task.0 == 0 { chosen.len() } else { 0 }).sum(),
            };
            let mean = (0..steps).map(count).sum::<usize>() as f64 / steps as f64;
            assert!((found - mean).abs() < 0.1 * mean, "{name}: {found} {mean}");
        }
    }

    #[test]
    fn shares_change_with_the_steps_of_the_run_however_often_a_step_asks() {
        let (once, thrice) =
            (sampler("annealed", &[100, 10_000]).paced(40, 1), sampler("annealed", &[100, 10_000]).paced(40, 3));
        for step in [0, 1, 20, 40, 60] {
            assert_eq!(once.shares(step), thrice.shares(3 * step), "step {step}");
            assert_eq!(thrice.shares(3 * step), thrice.shares(3 * step + 2), "step {step}");
        }
        assert!(once.shares(0) != once.shares(40) && once.shares(40) == once.shares(60));
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        type Weights = fn(&Value, &[usize], f64) -> Result<Vec<f64>>;
        let cases: [Weights; 3] =
            [|_, _, _| Ok(vec![1.]), |_, _, _| Ok(vec![0., 0.]), |_, _, _| Ok(vec![1., f64::NAN])];
        for weights in cases {
            let kind = SamplerKind { name: "mine", about: "", defaults: || Value::Null, weights, moves: false };
            let error = Sampler::new(&kind, &Value::Null, &[3, 4], 0).expect_err("no shares").to_string();
            assert!(error.contains("`mine`") && error.contains("[3, 4]"), "{error}");
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
