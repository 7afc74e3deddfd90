//! Checkpoints: everything a run needs to go on as if nothing had happened.
//!
//! A checkpoint is a folder of files and a manifest with the SHA-256 of each, written last; how it comes to its name and
//! what is found after a kill is told in [`folder`], what is checked before it is used in [`contents`]. Of the one that a
//! run goes on from, two generations are kept, so that damage to one costs no more than the steps between two saves. What
//! is no finite number is never saved.
//! Random streams are functions of (seed, phase, step), so no generator has to be saved.

mod contents;
mod folder;
mod forget;
mod snapshot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Tensor;
use mtl_task::TaskId;
use serde::{Deserialize, Serialize};

use crate::finite::{Diverged, check_tensors};
use crate::run::{EvaluationPoint, TaskLosses};
use crate::step::Trainer;
use crate::store::tensor_bytes;
use contents::{Weights, read_optimizer};
pub(crate) use contents::{copy_weights, read_weights, steps_of};
pub use contents::{has_checkpoint, verify};
pub use folder::sweep_one;
pub(crate) use folder::{find, settle, sweep};
pub(crate) use forget::forget;
pub(crate) use snapshot::{read_snapshot, save_snapshot, snapshot_name};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Steps done in all phases.
    pub(crate) step: usize,
    /// The phase, and the steps done in it.
    pub(crate) phase: usize,
    pub(crate) phase_step: usize,
    /// Steps paid for what is not on the model's path, in all phases and in this one, see [`mtl_sharing::Budget`].
    #[serde(default)]
    pub(crate) charged: usize,
    #[serde(default)]
    pub(crate) phase_charged: usize,
    /// Best mean headline score on dev so far, and the step that reached it.
    pub(crate) best: Option<(f64, usize)>,
    /// Each task's best headline score on dev so far; empty unless `evaluation.keep` is `each`.
    #[serde(default)]
    pub(crate) bests: Vec<f64>,
    /// SHA-256 of the file with the parameters of each of those.
    #[serde(default)]
    pub(crate) each: Vec<String>,
    /// The step of each of those.
    #[serde(default)]
    pub(crate) each_step: Vec<usize>,
    /// Evaluations of each task since then; empty as those.
    #[serde(default)]
    pub(crate) each_stale: Vec<usize>,
    /// The steps done when a task left the training, of tasks that did.
    #[serde(default)]
    pub(crate) left: BTreeMap<usize, usize>,
    /// What is remembered of each task's losses, to tell whether it diverges.
    #[serde(default)]
    pub(crate) losses: Vec<TaskLosses>,
    /// Evaluations since then.
    pub(crate) stale: usize,
    /// Seconds spent, and real tokens seen.
    pub(crate) seconds: f64,
    pub(crate) tokens: u64,
    /// Processor seconds spent, on all threads.
    #[serde(default)]
    pub(crate) cpu_seconds: f64,
    /// Every evaluation on dev so far.
    #[serde(default, alias = "looks")]
    pub(crate) evaluations: Vec<EvaluationPoint>,
    /// How often each outcome of the weighting rule occurred.
    pub(crate) outcomes: BTreeMap<String, usize>,
    /// State of each weighting rule, by its label.
    pub(crate) rules: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// The last loss of each task.
    pub(crate) known: Vec<Option<f64>>,
    /// Fingerprint of the recipe's keys, see [`crate::run::stored`]; in a run of before, the SHA-256 of its text.
    pub(crate) recipe: String,
}

/// The checkpoint that a run goes on from.
pub(crate) const LAST: &str = "last";
const MANIFEST: &str = "manifest.json";
const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const SHARING: &str = "sharing.safetensors";
const STATE: &str = "state.json";
/// Who owns which parameter, which is restored before any weight.
const STRUCTURE: &str = "structure.json";

/// Saves the whole state of a run as `folder`/`name`.
///
/// # Errors
/// If a value of it is not finite, naming step and value, or the disk refuses; the checkpoint that was there before is
/// then still found.
pub(crate) fn save(folder: &Path, name: &str, trainer: &Trainer, state: &RunState) -> Result<()> {
    let mut state = state.clone();
    state.known.clone_from(&trainer.known);
    state.rules = trainer.groups.iter().map(|b| (b.label.clone(), b.rule.state())).collect();
    let refused = |what: String| {
        Diverged::everywhere(format!("step {}: the checkpoint `{name}` is not saved: {what}", state.step))
    };
    if let Some(what) = state.infinite() {
        return Err(refused(what));
    }
    let checked = |file: &str, tensors: BTreeMap<String, Tensor>| {
        checked(&tensors).map_err(|what| refused(format!("{file}: {what}")))
    };
    // One file after the other, so that never more than one of them lies in memory beside what it is made from.
    let files: [(&str, folder::Content); 5] = [
        (MODEL, &|| checked(MODEL, trainer.model.params.tensors()?.into_iter().collect())),
        (OPTIMIZER, &|| checked(OPTIMIZER, trainer.optimizer.state()?)),
        (SHARING, &|| checked(SHARING, trainer.model.sharing.state()?)),
        (STRUCTURE, &|| Ok(serde_json::to_vec(&trainer.model.structure())?)),
        (STATE, &|| Ok(serde_json::to_vec(&state)?)),
    ];
    folder::write(folder, name, &files, &mut || Ok(())).map(drop)
}

/// `tensors` as a safetensors file, if their values are finite.
fn checked(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, String> {
    let bytes = tensor_bytes(tensors).map_err(|error| format!("{error:#}"))?;
    check_tensors(&bytes).map_err(|error| format!("{error:#}"))?;
    Ok(bytes)
}

impl RunState {
    /// A value that is not finite, in words; in JSON it would be no number any more.
    fn infinite(&self) -> Option<String> {
        let odd = |value: &f64| !value.is_finite();
        let of_rule = self.rules.iter().find_map(|(label, state)| {
            let (key, value) = state.iter().find_map(|(key, values)| Some((key, values.iter().find(|v| odd(v))?)))?;
            Some(format!("`{key}` of the weighting rule of `{label}` is {value}"))
        });
        let scores = self.best.iter().map(|(best, _)| best).chain(&self.bests);
        let scores = scores.chain(self.evaluations.iter().flat_map(|point| point.dev.iter().chain(&point.train)));
        let of_scores = || scores.copied().find(odd).map(|score| format!("a score on dev is {score}"));
        let of_losses =
            || self.known.iter().flatten().copied().find(odd).map(|loss| format!("a task's loss is {loss}"));
        of_rule.or_else(of_scores).or_else(of_losses)
    }
}

/// Removes the checkpoint that [`LAST`] replaced, and a damaged one that was set aside: a run that is over goes on from
/// nowhere.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn forget_previous(folder: &Path) -> Result<()> {
    for older in [folder::previous(folder, LAST), folder::damaged(folder, LAST)] {
        folder::remove(&older, &mut || Ok(())).with_context(|| format!("cannot remove {}", older.display()))?;
    }
    Ok(())
}

/// What a run goes on from.
pub(crate) struct Restored {
    /// Where it stood.
    pub(crate) state: RunState,
    /// The checkpoint.
    pub(crate) checkpoint: PathBuf,
    /// What is wrong with newer ones.
    pub(crate) notes: Vec<String>,
}

/// Puts the newest sound checkpoint called [`LAST`] into `trainer`; `None` if there is none at all. A damaged one is
/// passed over for the one before it, with a note, and set aside, so that the next save replaces neither.
///
/// # Errors
/// If all are damaged, or the newest sound one does not fit `trainer`.
pub(crate) fn restore_last(folder: &Path, trainer: &mut Trainer) -> Result<Option<Restored>> {
    let mut damaged = Vec::new();
    for checkpoint in folder::candidates(folder, LAST) {
        if let Err(error) = verify(&checkpoint) {
            damaged.push(format!("{error:#}"));
            continue;
        }
        let state = load(&checkpoint, trainer)?;
        if damaged.is_empty() {
            return Ok(Some(Restored { state, checkpoint, notes: Vec::new() }));
        }
        let aside = folder::set_aside(folder, LAST, &checkpoint)?;
        let instead = format!(
            "training goes on from {} instead, after step {}; the damaged one is kept as {} until the run ends",
            checkpoint.display(),
            state.step,
            aside.display()
        );
        let notes = damaged.into_iter().map(|error| format!("{error}; {instead}")).collect();
        return Ok(Some(Restored { state, checkpoint, notes }));
    }
    if damaged.is_empty() {
        return Ok(None);
    }
    bail!("{}; no sound checkpoint is left: restore the folder from a backup, or train anew", damaged.join("; "))
}

/// Puts the state saved in `checkpoint` into `trainer`.
///
/// # Errors
/// If a file is missing or damaged, or does not fit `trainer`.
pub(crate) fn restore(checkpoint: &Path, trainer: &mut Trainer) -> Result<RunState> {
    verify(checkpoint).context("restore the checkpoint from a backup and resume, or train anew")?;
    load(checkpoint, trainer)
}

fn load(checkpoint: &Path, trainer: &mut Trainer) -> Result<RunState> {
    let state = load_weights(Weights::read(checkpoint)?, trainer)?;
    trainer.optimizer.restore(&read_optimizer(checkpoint)?)?;
    trainer.known.clone_from(&state.known);
    (trainer.budget.steps, trainer.budget.charged) = (state.step, state.charged);
    trainer.go_on_without(state.left.keys().copied().map(TaskId).collect());
    for group in &mut trainer.groups {
        let state = state.rules.get(&group.label).with_context(|| format!("no state of rule `{}`", group.label))?;
        group.rule.restore(state).map_err(|error| anyhow!("{}: {error}", checkpoint.display()))?;
    }
    Ok(state)
}

/// Puts `weights` into `trainer`, for predictions alone: what only training needs is not read.
///
/// # Errors
/// If they do not fit `trainer`.
pub(crate) fn load_weights(weights: Weights, trainer: &mut Trainer) -> Result<RunState> {
    // Checkpoints of before the structure could change have the one that the model is built with.
    if let Some(structure) = &weights.structure {
        trainer.restructure(structure).with_context(|| weights.place().join(STRUCTURE).display().to_string())?;
    }
    trainer.model.params.assign(&weights.model()?)?;
    trainer.model.sharing.restore(&weights.sharing()?, weights.state.phase)?;
    Ok(weights.state)
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_with_a_value_that_json_has_no_number_for_is_found() {
        assert_eq!(RunState::default().infinite(), None);
        let rules =
            |value| BTreeMap::from([("all".to_string(), BTreeMap::from([("weights".to_string(), vec![1., value])]))]);
        let point = |dev| EvaluationPoint { step: 1, dev: vec![dev], train: vec![0.5] };
        for odd in [f64::NAN, f64::INFINITY] {
            let sound = RunState::default;
            for (state, named) in [
                (RunState { rules: rules(odd), ..sound() }, "`weights` of the weighting rule of `all`"),
                (RunState { best: Some((odd, 3)), ..sound() }, "a score on dev"),
                (RunState { bests: vec![0.1, odd], ..sound() }, "a score on dev"),
                (RunState { evaluations: vec![point(0.2), point(odd)], ..sound() }, "a score on dev"),
                (RunState { known: vec![None, Some(odd)], ..sound() }, "a task's loss"),
            ] {
                let found = state.infinite().expect(named);
                assert!(found.contains(named) && found.contains(&odd.to_string()), "{found}");
            }
        }
        let state =
            RunState { rules: rules(2.), known: vec![Some(0.5)], evaluations: vec![point(0.2)], ..RunState::default() };
        assert_eq!(state.infinite(), None);
    }
}
