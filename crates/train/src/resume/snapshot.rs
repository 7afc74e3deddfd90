//! The weights of one task's best step, where tasks share parameters, so that no model could hold those of all.
//!
//! A snapshot is a checkpoint of its own beside the others: who owns which parameter, the values of those that the task's
//! answers depend on, and the strategy's own state. No training goes on from one, so that it has no optimizer.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use mtl_task::TaskId;
use sha2::{Digest, Sha256};

use super::contents::Weights;
use super::{MODEL, OPTIMIZER, RunState, SHARING, STATE, STRUCTURE, checked, folder, hex};
use crate::finite::Diverged;
use crate::step::Trainer;

/// The name of the snapshot of `task`.
pub(crate) fn snapshot_name(task: TaskId) -> String {
    format!("each-{}", task.0)
}

/// Saves what `task` needs of `trainer` to answer as its snapshot in `folder`; returns the SHA-256 of what it weighs.
///
/// # Errors
/// If a value is not finite, or the disk refuses; the snapshot that was there before is then still found.
pub(crate) fn save_snapshot(folder: &Path, trainer: &Trainer, state: &RunState, task: TaskId) -> Result<String> {
    // What a training remembers is no part of it.
    let state = RunState {
        step: state.step,
        phase: state.phase,
        phase_step: state.phase_step,
        recipe: state.recipe.clone(),
        ..RunState::default()
    };
    let name = trainer.model.tasks.get(task.0).map_or("", |task| task.name.as_str());
    let checked = |file: &str, tensors: BTreeMap<String, Tensor>| {
        checked(&tensors).map_err(|what| {
            let of = format!("step {}: the weights of task `{name}` are not saved", state.step);
            Diverged::everywhere(format!("{of}: {file}: {what}"))
        })
    };
    let reached = || trainer.model.params.tensors_of(&trainer.model.reach(task));
    let files: [(&str, folder::Content); 5] = [
        (MODEL, &|| checked(MODEL, reached()?.into_iter().collect())),
        (OPTIMIZER, &|| checked(OPTIMIZER, BTreeMap::new())),
        (SHARING, &|| checked(SHARING, trainer.model.sharing.state()?)),
        (STRUCTURE, &|| Ok(serde_json::to_vec(&trainer.model.structure())?)),
        (STATE, &|| Ok(serde_json::to_vec(&state)?)),
    ];
    let mut digest = Sha256::new();
    for file in folder::write(folder, &snapshot_name(task), &files, &mut || Ok(()))? {
        digest.update(file);
    }
    Ok(hex(&digest.finalize()))
}

/// A task's snapshot, read and checked.
pub(crate) struct Snapshot {
    weights: Weights,
    task: TaskId,
}

/// The snapshot of `task` in `folder`; none if there is none.
///
/// # Errors
/// If it is damaged, naming file and remedy.
pub(crate) fn read_snapshot(folder: &Path, task: TaskId) -> Result<Option<Snapshot>> {
    let weights = super::read_weights(folder, &[&snapshot_name(task)])?;
    Ok(weights.map(|weights| Snapshot { weights, task }))
}

impl Snapshot {
    /// The step that it is of.
    pub(crate) fn step(&self) -> usize {
        self.weights.state.step
    }

    /// The fingerprint of the recipe that it was trained by.
    pub(crate) fn recipe(&self) -> &str {
        &self.weights.state.recipe
    }

    /// Refuses it if it is not what [`save_snapshot`] answered `wanted` for.
    ///
    /// # Errors
    /// Names it, with both digests.
    pub(crate) fn check(&self, wanted: &str) -> Result<()> {
        let found = self.weights.digest()?;
        if found != wanted {
            bail!(
                "{}: damaged: its SHA-256 is {found}, the run wrote {wanted}; restore it from a backup and resume, or train \
                 anew",
                self.weights.place().display()
            );
        }
        Ok(())
    }

    /// Puts it into `trainer`, which answers for its task as it did then; what only other tasks need stays as it is.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn put_into(&self, trainer: &mut Trainer) -> Result<()> {
        let place = || self.weights.place().display().to_string();
        if let Some(structure) = &self.weights.structure {
            trainer.restructure(structure).with_context(place)?;
        }
        let mut tensors: BTreeMap<String, Tensor> = trainer.model.params.tensors()?.into_iter().collect();
        let own = self.weights.model()?;
        for reached in trainer.model.params.tensors_of(&trainer.model.reach(self.task))? {
            if !own.contains_key(&reached.0) {
                bail!("{}: tensor `{}` is missing, which its task needs", place(), reached.0);
            }
        }
        tensors.extend(own);
        trainer.model.params.assign(&tensors).with_context(place)?;
        Ok(trainer.model.sharing.restore(&self.weights.sharing()?, self.weights.state.phase)?)
    }
}
