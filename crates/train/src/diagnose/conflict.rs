//! The conflict map: every pair's gradient cosines, part by part, from independent half-batches.
//!
//! With D half-batches a task, c = mean over all D² couples of cos(gᵢᵃ, gⱼᵇ), and rᵢ = mean over a < b of cos(gᵢᵃ, gᵢᵇ).
//! A part is a parameter that at least two tasks reach: a layer, the embeddings, and the word table on its own, whose
//! gradient is sparse by rows. A strategy's shared parameters that are none of the encoder's are parts as well.

use std::collections::BTreeMap;

use anyhow::Result;
use mtl_backbone::TaskGradient;
use mtl_eval::recovery::Halves;
use mtl_nash::Gram;
use mtl_sharing::Model;
use mtl_task::TaskBatch;

use super::row_conflict::{RowStatistics, row_statistics};
use crate::gradients::{grams, total};
use crate::step::Trainer;

/// Draws' numbers start here, far from those of training, so that dropout is independent of the step's.
const FIRST_DRAW: usize = 1 << 20;

/// The name under which all parts together are kept.
pub(super) const ALL: &str = "all";

/// Every task's gradient on every half-batch, `[draw][task]`.
pub(super) fn gradients(trainer: &Trainer, batches: &[Vec<TaskBatch>], step: usize) -> Result<Vec<Vec<TaskGradient>>> {
    batches.iter().enumerate().map(|(draw, batches)| trainer.probe(batches, step, FIRST_DRAW + draw)).collect()
}

/// What each measurement said of each pair, by part.
#[derive(Clone, Debug, Default)]
pub(super) struct Conflict {
    /// `[part][(i, j)]`, i < j: one entry a measurement.
    pub(super) halves: BTreeMap<String, BTreeMap<(usize, usize), Vec<Halves>>>,
    /// `[table][(i, j)]`, likewise.
    pub(super) row_statistics: BTreeMap<String, BTreeMap<(usize, usize), Vec<RowStatistics>>>,
}

impl Conflict {
    /// Adds a measurement.
    pub(super) fn add(&mut self, model: &Model, mini_batches: &[Vec<TaskGradient>]) {
        let tasks = model.tasks.len();
        let rows: Vec<&TaskGradient> = mini_batches.iter().flatten().collect();
        for name in model.shared() {
            for (pair, row_statistics) in row_statistics(mini_batches, &name) {
                self.row_statistics.entry(name.clone()).or_default().entry(pair).or_default().push(row_statistics);
            }
        }
        let mut parts = grams(&rows, &model.shared());
        parts.insert(ALL.to_string(), total(rows.len(), parts.values()));
        for (part, gram) in parts {
            let of_part = self.halves.entry(part).or_default();
            for (i, j) in (0..tasks).flat_map(|i| (i + 1..tasks).map(move |j| (i, j))) {
                if let Some(halves) = halves(&gram, tasks, mini_batches.len(), i, j) {
                    of_part.entry((i, j)).or_default().push(halves);
                }
            }
        }
    }
}

/// What the rows `draw · tasks + task` of `gram` say of the tasks `i` and `j`; nothing where one of them has no gradient.
fn halves(gram: &Gram, tasks: usize, mini_batches: usize, i: usize, j: usize) -> Option<Halves> {
    let row = |draw: usize, task: usize| draw * tasks + task;
    if (0..mini_batches).any(|draw| [i, j].iter().any(|&task| gram.norm(row(draw, task)) == 0.)) {
        return None;
    }
    let mean = |cosines: Vec<f64>| cosines.iter().sum::<f64>() / cosines.len() as f64;
    let couples = || (0..mini_batches).flat_map(|a| (0..mini_batches).map(move |b| (a, b)));
    let own = |task: usize| {
        mean(couples().filter(|(a, b)| a < b).map(|(a, b)| gram.cosine(row(a, task), row(b, task))).collect())
    };
    let between = mean(couples().map(|(a, b)| gram.cosine(row(a, i), row(b, j))).collect());
    Some(Halves { between, first: own(i), second: own(j) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_means_over_couples() {
        // Two mini_batches of two tasks in the plane: the first task's halves are at right angles, the second's alike.
        let gram = Gram::of_rows(&[[1., 0.], [1., 1.], [0., 2.], [3., 3.]]);
        let found = halves(&gram, 2, 2, 0, 1).expect("no gradient is zero");
        let half = 0.5f64.sqrt();
        assert!(found.first.abs() < 1e-12 && (found.second - 1.).abs() < 1e-12 && (found.between - half).abs() < 1e-12);
        assert_eq!(halves(&Gram::of_rows(&[[0., 0.], [1., 1.], [0., 2.], [3., 3.]]), 2, 2, 0, 1), None);
    }
}
