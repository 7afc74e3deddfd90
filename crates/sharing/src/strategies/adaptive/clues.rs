//! What the gradients say: of who wants the same (for the order of what is tried), and of what share of a parameter's
//! gradient some tasks have (for the moments of a split).

use std::collections::BTreeMap;
use std::ops::Range;

use mtl_backbone::Part;
use mtl_nash::Gram;
use mtl_task::TaskId;
use serde::{Deserialize, Serialize};

use super::bands::BANDS;
use crate::TaskSet;

/// What a step's Gram matrix is kept with at the next one.
const KEPT: f64 = 0.9;

/// Sums over steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Clues {
    tasks: usize,
    /// Inner products of the tasks' gradients by part, `[tasks²]`: sums over the warm-up, and running sums.
    warm: BTreeMap<String, Vec<f64>>,
    recent: BTreeMap<String, Vec<f64>>,
    /// By band and pair, above 0 where two tasks pull against each other.
    conflict: Vec<Vec<f64>>,
}

impl Clues {
    pub(super) fn new(tasks: usize) -> Self {
        Self { tasks, conflict: vec![vec![0.; tasks * tasks]; BANDS.len()], ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn known(tasks: usize, conflict: impl Fn(usize, usize) -> f64) -> Self {
        let all = (0..tasks * tasks).map(|at| conflict(at / tasks, at % tasks)).collect();
        Self { conflict: vec![all; BANDS.len()], ..Self::new(tasks) }
    }

    /// Takes in the Gram matrix of the `present` tasks over `part`, which the tasks of `group` train.
    pub(super) fn add(&mut self, part: Part, group: &TaskSet, (present, gram): (&[TaskId], &Gram), warm: bool) {
        let (tasks, name) = (self.tasks, part.to_string());
        let into = |sums: &mut BTreeMap<String, Vec<f64>>, kept: f64| {
            let sum = sums.entry(name.clone()).or_insert_with(|| vec![0.; tasks * tasks]);
            for (i, a) in present.iter().enumerate().filter(|(_, task)| group.contains(**task)) {
                for (j, b) in present.iter().enumerate().filter(|(_, task)| group.contains(**task)) {
                    let at = a.0 * tasks + b.0;
                    sum[at] = kept * sum[at] + gram.at(i, j);
                }
            }
        };
        into(&mut self.recent, KEPT);
        if warm {
            into(&mut self.warm, 1.);
        }
    }

    /// The warm-up is over: `score` is κ − ω/3 of a pair over the words (`row_pair.rs`), `band_of` the band of a part. In
    /// the other bands, and where the words say nothing, it is minus the cosine of the summed gradients, whose inner
    /// products are free of bias, for tasks draw their batches independently.
    pub(super) fn judge(&mut self, score: impl Fn(usize, usize) -> Option<f64>, band_of: impl Fn(&str) -> usize) {
        let count = self.tasks;
        for band in 0..BANDS.len() {
            let mut sum = vec![0.; count * count];
            for (_, gram) in self.warm.iter().filter(|(part, _)| band_of(part) == band) {
                sum.iter_mut().zip(gram).for_each(|(into, value)| *into += value);
            }
            for i in 0..count {
                for j in 0..count {
                    let cosine = sum[i * count + j] / (sum[i * count + i] * sum[j * count + j]).sqrt();
                    let by_rows = if band == 0 && i != j { score(i, j) } else { None };
                    let found = -by_rows.unwrap_or(cosine);
                    self.conflict[band][i * count + j] = if found.is_finite() { found } else { 0. };
                }
            }
        }
        self.warm.clear();
    }

    /// Mean conflict between `first` and `second` (all others if there is none) over `bands`.
    pub(super) fn conflict(&self, first: &TaskSet, second: Option<&TaskSet>, bands: Range<usize>) -> f64 {
        let other = |task: &TaskId| second.map_or_else(|| !first.contains(*task), |second| second.contains(*task));
        let others: Vec<TaskId> = (0..self.tasks).map(TaskId).filter(other).collect();
        let (mut sum, mut count) = (0., 0.);
        for band in bands.filter_map(|band| self.conflict.get(band)) {
            for a in first.iter() {
                for b in &others {
                    sum += band[a.0 * self.tasks + b.0];
                    count += 1.;
                }
            }
        }
        if count > 0. { sum / count } else { 0. }
    }

    /// The share that the gradient of `own` has in the squared norm of that of `all` over `part`, above 1 where tasks pull
    /// against each other; the share of the tasks' number where nothing is known.
    pub(super) fn share(&self, part: Part, own: &TaskSet, all: &TaskSet) -> f64 {
        let known = self.recent.get(&part.to_string());
        let sum = |tasks: &TaskSet| -> f64 {
            let pairs = tasks.iter().flat_map(|i| tasks.iter().map(move |j| (i, j)));
            known.map_or(0., |gram| pairs.map(|(i, j)| gram[i.0 * self.tasks + j.0]).sum())
        };
        let share = sum(own) / sum(all);
        if share.is_finite() && share > 0. {
            share.clamp(1e-3, 1e3)
        } else {
            own.len() as f64 / all.len().max(1) as f64
        }
    }

    /// Whether it can come from a training of so many tasks.
    pub(super) fn is_of(&self, tasks: usize) -> bool {
        let whole = |sums: &BTreeMap<String, Vec<f64>>| sums.values().all(|sum| sum.len() == tasks * tasks);
        self.tasks == tasks
            && whole(&self.warm)
            && whole(&self.recent)
            && self.conflict.len() == BANDS.len()
            && self.conflict.iter().all(|band| band.len() == tasks * tasks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tasks: &[usize]) -> TaskSet {
        tasks.to_vec().into()
    }

    #[test]
    fn shares_and_conflicts_are_of_the_summed_gradients() {
        let (mut clues, present) = (Clues::new(3), [TaskId(0), TaskId(1), TaskId(2)]);
        let gram = Gram::of_rows(&[[3., 0.], [0., 4.], [0., -1.]]);
        let part = Part::Layer(0);
        assert_eq!(clues.share(part, &set(&[2]), &set(&[0, 1, 2])), 1. / 3., "nothing is known");
        for _ in 0..2 {
            clues.add(part, &TaskSet::all(3), (&present, &gram), true);
        }
        // The sum of all is (3, 3), of the first two (3, 4).
        assert!((clues.share(part, &set(&[0, 1]), &set(&[0, 1, 2])) - 25. / 18.).abs() < 1e-12);
        assert!((clues.share(part, &set(&[0]), &set(&[0, 1])) - 9. / 25.).abs() < 1e-12);
        clues.judge(|i, j| (i + j == 1).then_some(0.5), |part| usize::from(part != "words"));
        assert_eq!(clues.conflict(&set(&[0]), Some(&set(&[1])), 0..1), -0.5);
        assert_eq!(clues.conflict(&set(&[1]), Some(&set(&[2])), 1..2), 1.);
        assert_eq!(clues.conflict(&set(&[2]), None, 1..2), 0.5);
        assert!(clues.is_of(3) && !clues.is_of(2));
        // A group of others leaves the pairs of the rest as they were.
        let before = clues.share(part, &set(&[0]), &set(&[0, 1]));
        clues.add(part, &set(&[2]), (&present, &gram), false);
        assert_eq!(clues.share(part, &set(&[0]), &set(&[0, 1])), before);
    }
}
