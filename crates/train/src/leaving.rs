//! Tasks that leave a training before its end.
//!
//! A task that has left is in no step any more: the rules go on among the others, each from its own state, and what the
//! task alone trains stands still, a strategy's penalty notwithstanding. What others share with it they go on training; the
//! task keeps the weights of the step that was best for it by a snapshot of its own.

use std::collections::{BTreeMap, BTreeSet};

use mtl_sharing::Topology;
use mtl_task::TaskId;

use crate::optim::WeightedSum;
use crate::step::Trainer;

impl Trainer {
    /// The tasks that have left.
    pub(crate) fn left(&self) -> &BTreeSet<TaskId> {
        &self.left
    }

    /// Goes on without the tasks `left`.
    pub(crate) fn go_on_without(&mut self, left: BTreeSet<TaskId>) {
        self.groups.iter_mut().for_each(|group| group.go_on_without(&left));
        self.left = left;
    }

    /// Takes out of `sums` the parameters that only tasks train which have left.
    pub(crate) fn hold_still(&self, sums: &mut BTreeMap<&str, WeightedSum>) {
        if !self.left.is_empty() {
            sums.retain(|name, _| !is_left(&self.model.topology, &self.left, name));
        }
    }
}

/// Whether all tasks that train the parameter called `name` have left.
fn is_left(topology: &Topology, left: &BTreeSet<TaskId>, name: &str) -> bool {
    topology.trained_by(name).is_some_and(|tasks| tasks.iter().all(|task| left.contains(&task)))
}
