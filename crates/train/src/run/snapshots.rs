//! Each task's best weights where tasks share some: a snapshot of every task, put into the model when the task answers.

use std::path::PathBuf;

use anyhow::{Result, bail};
use mtl_task::TaskId;

use super::Run;
use crate::observer::Observer;
use crate::resume;

impl Run {
    fn checkpoints(&self) -> PathBuf {
        self.options.out.join("checkpoints")
    }

    /// Saves the snapshot of `task`; returns its SHA-256.
    pub(super) fn save_snapshot(&self, task: TaskId) -> Result<String> {
        resume::save_snapshot(&self.checkpoints(), &self.assembled.trainer, &self.state, task)
    }

    /// Refuses snapshots that are not as they were written.
    pub(super) fn check_snapshots(&self) -> Result<()> {
        for task in (0..self.assembled.datasets.len()).map(TaskId) {
            let Some(wanted) = self.state.each.get(task.0).filter(|wanted| !wanted.is_empty()) else { continue };
            match resume::read_snapshot(&self.checkpoints(), task)? {
                Some(snapshot) => snapshot.check(wanted)?,
                None => bail!(
                    "{}: the weights of task `{}` are missing; restore {} from a backup and resume, or train anew",
                    self.checkpoints().display(),
                    self.assembled.datasets[task.0].name,
                    resume::snapshot_name(task)
                ),
            }
        }
        Ok(())
    }

    /// Puts the weights that `task` is reported by into the model, where tasks have their own.
    pub(super) fn put_on(&mut self, task: TaskId) -> Result<()> {
        if !self.recipe.keeps_snapshots()? {
            return Ok(());
        }
        match resume::read_snapshot(&self.checkpoints(), task)? {
            Some(snapshot) => snapshot.put_into(&mut self.assembled.trainer),
            None => Ok(()),
        }
    }

    /// Lets tasks leave the training that have not become better for as many evaluations as they have patience.
    pub(super) fn let_go(&mut self, observer: &mut dyn Observer) {
        let mut left = self.assembled.trainer.left().clone();
        for (task, dataset) in self.assembled.datasets.iter().enumerate() {
            let patience = self.recipe.task(&dataset.name).patience.unwrap_or(0);
            let stale = self.state.each_stale.get(task).copied().unwrap_or(0);
            if patience == 0 || stale < patience || !left.insert(TaskId(task)) {
                continue;
            }
            self.state.left.insert(task, self.state.step);
            if let Some(losses) = self.state.losses.get_mut(task) {
                losses.settle();
            }
            observer.note(&format!(
                "{} leaves the training after step {}: not better in {patience} evaluation{} than after step {}",
                dataset.name,
                self.state.step,
                if patience == 1 { "" } else { "s" },
                self.state.each_step.get(task).copied().unwrap_or(0)
            ));
        }
        if left.len() != self.assembled.trainer.left().len() {
            self.assembled.trainer.go_on_without(left);
        }
    }

    /// Whether no task is left to train.
    pub(super) fn all_have_left(&self) -> bool {
        self.state.left.len() == self.assembled.datasets.len()
    }
}
