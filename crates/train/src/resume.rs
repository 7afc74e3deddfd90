//! Checkpoints: everything a run needs to go on as if nothing had happened.
//!
//! A checkpoint is a folder of files and a manifest with the SHA-256 of each, written last. It is made under a
//! temporary name and renamed, so a folder with its final name is whole; the one before it is removed afterwards.
//! Random streams are functions of (seed, phase, step), so no generator has to be saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::run::EvaluationPoint;
use crate::step::Trainer;
use crate::store::{read_tensors, tensor_bytes, write_atomically};

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
    /// Looks at dev since then.
    pub(crate) stale: usize,
    /// Seconds spent, and real tokens seen.
    pub(crate) seconds: f64,
    pub(crate) tokens: u64,
    /// Processor seconds spent, on all threads.
    #[serde(default)]
    pub(crate) cpu_seconds: f64,
    /// Every look at dev so far.
    #[serde(default)]
    pub(crate) looks: Vec<EvaluationPoint>,
    /// How often each outcome of the weighting rule occurred.
    pub(crate) outcomes: BTreeMap<String, usize>,
    /// State of each weighting rule, by its label.
    pub(crate) rules: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    /// The last loss of each task.
    pub(crate) known: Vec<Option<f64>>,
    /// SHA-256 of the resolved recipe.
    pub(crate) recipe: String,
}

const FILES: [&str; 4] = ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "standing.json"];

/// Saves the whole state of a run as `folder`/`name`.
pub(crate) fn save(folder: &Path, name: &str, trainer: &Trainer, state: &RunState) -> Result<()> {
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&temporary);
    let model: BTreeMap<String, Tensor> = trainer.model.params.tensors()?.into_iter().collect();
    let mut state = state.clone();
    state.known.clone_from(&trainer.known);
    state.rules = trainer.groups.iter().map(|b| (b.label.clone(), b.rule.state())).collect();
    let contents = [
        tensor_bytes(&model)?,
        tensor_bytes(&trainer.optimizer.state()?)?,
        tensor_bytes(&trainer.model.sharing.state()?)?,
        serde_json::to_vec(&state)?,
    ];
    let mut manifest = BTreeMap::new();
    for (file, bytes) in FILES.iter().zip(&contents) {
        write_atomically(&temporary.join(file), bytes)?;
        manifest.insert(*file, hex(&Sha256::digest(bytes)));
    }
    write_atomically(&temporary.join("manifest.json"), &serde_json::to_vec_pretty(&manifest)?)?;
    let target = folder.join(name);
    let old = folder.join(format!(".{name}.old"));
    let _ = std::fs::remove_dir_all(&old);
    if target.exists() {
        std::fs::rename(&target, &old)?;
    }
    std::fs::rename(&temporary, &target).with_context(|| format!("cannot write {}", target.display()))?;
    std::fs::File::open(folder)?.sync_all()?;
    let _ = std::fs::remove_dir_all(&old);
    Ok(())
}

/// The checkpoint called `name` in `folder`, if there is one. If a crash fell between the two renames of a save, the
/// one before is taken.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!(".{name}.old"))]
        .into_iter()
        .find(|path| path.join("manifest.json").exists())
}

/// Puts the state saved in `checkpoint` into `trainer`.
pub(crate) fn restore(checkpoint: &Path, trainer: &mut Trainer) -> Result<RunState> {
    verify(checkpoint)?;
    let state: RunState = serde_json::from_slice(&std::fs::read(checkpoint.join("standing.json"))?)
        .with_context(|| format!("{}/state.json", checkpoint.display()))?;
    trainer.model.params.assign(&read_tensors(&checkpoint.join("model.safetensors"))?)?;
    trainer.optimizer.restore(&read_tensors(&checkpoint.join("optimizer.safetensors"))?)?;
    trainer.model.sharing.restore(&read_tensors(&checkpoint.join("sharing.safetensors"))?, state.phase)?;
    trainer.known.clone_from(&state.known);
    for group in &mut trainer.groups {
        let state = state.rules.get(&group.label).with_context(|| format!("no state of rule `{}`", group.label))?;
        group.rule.restore(state).map_err(|error| anyhow!("{}: {error}", checkpoint.display()))?;
    }
    Ok(state)
}

/// Checks every file of a checkpoint against its manifest.
pub(crate) fn verify(checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join("manifest.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: BTreeMap<String, String> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    for (file, wanted) in &manifest {
        if file.contains(['/', '\\']) {
            bail!("{}: `{file}` is no plain file name", path.display());
        }
        let place = checkpoint.join(file);
        let bytes = std::fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        let found = hex(&Sha256::digest(&bytes));
        if found != *wanted {
            bail!("{}: damaged: its SHA-256 is {found}, the manifest says {wanted}", place.display());
        }
    }
    Ok(())
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
