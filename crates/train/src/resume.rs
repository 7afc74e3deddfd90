//! Checkpoints: everything a run needs to go on as if nothing had happened.
//!
//! A checkpoint is a folder of files and a manifest with the SHA-256 of each, written last; how it comes to its name and
//! what is found after a kill is told in [`folder`]. Of the one that a run goes on from, two generations are kept, so
//! that damage to one costs no more than the steps between two saves.
//! Random streams are functions of (seed, phase, step), so no generator has to be saved.

mod folder;
mod forget;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Tensor;
use mtl_sharing::Structure;
use serde::{Deserialize, Serialize};

use crate::run::EvaluationPoint;
use crate::step::Trainer;
use crate::store::{read_tensors, tensor_bytes};
pub(crate) use folder::{find, settle, sweep, verify};
pub(crate) use forget::forget;

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Steps done in all phases.
    pub(crate) step: usize,
    /// The phase, and the steps done in it.
    pub(crate) phase: usize,
    pub(crate) phase_step: usize,
    /// Best mean headline score on dev so far, and the step that reached it.
    pub(crate) best: Option<(f64, usize)>,
    /// Each task's best headline score on dev so far; empty unless `evaluation.keep` is `each`.
    #[serde(default)]
    pub(crate) bests: Vec<f64>,
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
const STATE: &str = "state.json";
/// Who owns which parameter, which is restored before any weight.
const STRUCTURE: &str = "structure.json";

/// Saves the whole state of a run as `folder`/`name`.
///
/// # Errors
/// If the disk refuses; the checkpoint that was there before is then still found.
pub(crate) fn save(folder: &Path, name: &str, trainer: &Trainer, state: &RunState) -> Result<()> {
    let model: BTreeMap<String, Tensor> = trainer.model.params.tensors()?.into_iter().collect();
    let mut state = state.clone();
    state.known.clone_from(&trainer.known);
    state.rules = trainer.groups.iter().map(|b| (b.label.clone(), b.rule.state())).collect();
    let files = [
        ("model.safetensors", tensor_bytes(&model)?),
        ("optimizer.safetensors", tensor_bytes(&trainer.optimizer.state()?)?),
        ("sharing.safetensors", tensor_bytes(&trainer.model.sharing.state()?)?),
        (STRUCTURE, serde_json::to_vec(&trainer.model.structure())?),
        (STATE, serde_json::to_vec(&state)?),
    ];
    folder::write(folder, name, &files, &mut || Ok(()))
}

/// Removes the checkpoint that [`LAST`] replaced: a run that is over goes on from nowhere.
///
/// # Errors
/// If the disk refuses.
pub(crate) fn forget_previous(folder: &Path) -> Result<()> {
    let previous = folder.join(format!("{LAST}.previous"));
    folder::remove(&previous, &mut || Ok(())).with_context(|| format!("cannot remove {}", previous.display()))
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
/// passed over for the one before it, with a note.
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
        let instead = format!("training goes on from {} instead, after step {}", checkpoint.display(), state.step);
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
    verify(checkpoint).context("restore the checkpoint from a backup, or train anew")?;
    load(checkpoint, trainer)
}

/// Puts the weights saved in `checkpoint` into `trainer`, for predictions alone: what only training needs is not read.
///
/// # Errors
/// As of [`restore`].
pub(crate) fn restore_weights(checkpoint: &Path, trainer: &mut Trainer) -> Result<()> {
    verify(checkpoint).context("restore the checkpoint from a backup, or train anew")?;
    load_weights(checkpoint, trainer).map(|_| ())
}

fn load(checkpoint: &Path, trainer: &mut Trainer) -> Result<RunState> {
    let state = load_weights(checkpoint, trainer)?;
    trainer.optimizer.restore(&read_tensors(&checkpoint.join("optimizer.safetensors"))?)?;
    trainer.known.clone_from(&state.known);
    for group in &mut trainer.groups {
        let state = state.rules.get(&group.label).with_context(|| format!("no state of rule `{}`", group.label))?;
        group.rule.restore(state).map_err(|error| anyhow!("{}: {error}", checkpoint.display()))?;
    }
    Ok(state)
}

fn load_weights(checkpoint: &Path, trainer: &mut Trainer) -> Result<RunState> {
    let state = read_state(checkpoint)?;
    let structure = checkpoint.join(STRUCTURE);
    // Checkpoints of before the structure could change have the one that the model is built with.
    if structure.exists() {
        let saved: Structure =
            serde_json::from_slice(&std::fs::read(&structure)?).with_context(|| structure.display().to_string())?;
        trainer.restructure(&saved).with_context(|| structure.display().to_string())?;
    }
    trainer.model.params.assign(&read_tensors(&checkpoint.join("model.safetensors"))?)?;
    trainer.model.sharing.restore(&read_tensors(&checkpoint.join("sharing.safetensors"))?, state.phase)?;
    Ok(state)
}

/// The steps that were done when `checkpoint` was saved, if it can be read.
pub(crate) fn steps_of(checkpoint: &Path) -> Option<usize> {
    read_state(checkpoint).ok().map(|state| state.step)
}

/// The fingerprint of the recipe by which `checkpoint` was trained.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn recipe_of(checkpoint: &Path) -> Result<String> {
    read_state(checkpoint).map(|state| state.recipe)
}

fn read_state(checkpoint: &Path) -> Result<RunState> {
    let path = state_file(checkpoint);
    serde_json::from_slice(&std::fs::read(&path)?).with_context(|| path.display().to_string())
}

/// Where `checkpoint` says where the run stood; older ones call the file otherwise.
fn state_file(checkpoint: &Path) -> PathBuf {
    let path = checkpoint.join(STATE);
    if path.exists() { path } else { checkpoint.join("standing.json") }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
