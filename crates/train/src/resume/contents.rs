//! What a checkpoint holds, checked before anything of it is used.
//!
//! Every file has to be what the manifest says, the manifest what a save writes, and every tensor finite; whatever is
//! not, makes the checkpoint damaged. A training checks all files before it goes on from one. Predictions read the weights
//! alone, and may do so while a training replaces the checkpoint: see [`read_weights`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use sha2::{Digest, Sha256};

use super::folder::{self, find};
use super::{LAST, MANIFEST, MODEL, OPTIMIZER, SHARING, STATE, STRUCTURE, hex};
use crate::finite::check_tensors;
use crate::store::tensor_bytes;

/// What older checkpoints call [`STATE`].
const OLD_STATE: &str = "standing.json";
/// How often a checkpoint that is replaced while it is read is read again, and the pause before that.
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// The SHA-256 of every file of a checkpoint, by name.
struct Manifest {
    place: PathBuf,
    files: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads the manifest of `checkpoint`.
    ///
    /// # Errors
    /// If it cannot be read, is not what a save writes, or lacks a file that every checkpoint has.
    fn read(checkpoint: &Path) -> Result<Self> {
        let path = checkpoint.join(MANIFEST);
        let shown = path.display();
        let bytes = std::fs::read(&path).with_context(|| format!("{shown}: damaged: it cannot be read"))?;
        let files: BTreeMap<String, String> =
            serde_json::from_slice(&bytes).with_context(|| format!("{shown}: damaged"))?;
        // Blanks carry nothing, and still are not as they were.
        if serde_json::to_vec_pretty(&files)? != bytes && serde_json::to_vec(&files)? != bytes {
            bail!("{shown}: damaged: it is not as a save writes it");
        }
        if let Some(file) = files.keys().find(|file| file.contains(['/', '\\'])) {
            bail!("{shown}: damaged: `{file}` is not a plain file name");
        }
        let manifest = Self { place: checkpoint.to_path_buf(), files };
        let listed = |file: &str| manifest.files.contains_key(file);
        if let Some(file) = [MODEL, OPTIMIZER, SHARING].into_iter().find(|file| !listed(file)) {
            bail!("{shown}: damaged: it does not list {file}");
        }
        if !listed(manifest.state()) {
            bail!("{shown}: damaged: it does not list {STATE}");
        }
        // Checkpoints of before the structure could change have none.
        if !listed(STRUCTURE) && checkpoint.join(STRUCTURE).exists() {
            bail!("{shown}: damaged: it does not list {STRUCTURE}, which is there");
        }
        Ok(manifest)
    }

    /// The file that says where the run stood.
    fn state(&self) -> &'static str {
        if self.files.contains_key(STATE) { STATE } else { OLD_STATE }
    }

    /// The bytes of `file`, which is listed.
    ///
    /// # Errors
    /// If it cannot be read, has other bytes than it was saved with, or a tensor that is not finite.
    fn bytes(&self, file: &str) -> Result<Vec<u8>> {
        let place = self.place.join(file);
        let shown = place.display();
        let bytes = std::fs::read(&place).with_context(|| format!("{shown}: damaged: it cannot be read"))?;
        let (found, wanted) = (hex(&Sha256::digest(&bytes)), self.files.get(file).map_or("", String::as_str));
        if found != wanted {
            bail!("{shown}: damaged: its SHA-256 is {found}, the manifest says {wanted}");
        }
        if file.ends_with(".safetensors") {
            check_tensors(&bytes).with_context(|| format!("{shown}: damaged"))?;
        }
        Ok(bytes)
    }
}

/// Checks every file of the checkpoint in the folder `checkpoint` against its manifest.
///
/// # Errors
/// Names the file that is missing, is not as it was saved, or holds what is no finite number.
pub fn verify(checkpoint: &Path) -> Result<()> {
    let manifest = Manifest::read(checkpoint)?;
    for file in manifest.files.keys() {
        let bytes = manifest.bytes(file)?;
        if file == manifest.state() {
            parsed::<super::RunState>(&checkpoint.join(file), &bytes)?;
        }
        if file == STRUCTURE {
            parsed::<mtl_sharing::Structure>(&checkpoint.join(file), &bytes)?;
        }
    }
    Ok(())
}

/// The steps that were done when `checkpoint` was saved, if it says so.
pub(crate) fn steps_of(checkpoint: &Path) -> Option<usize> {
    let read = |name: &str| std::fs::read(checkpoint.join(name)).ok();
    let bytes = read(STATE).or_else(|| read(OLD_STATE))?;
    serde_json::from_slice::<super::RunState>(&bytes).ok().map(|state| state.step)
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).with_context(|| format!("{}: damaged", path.display()))
}

/// The files of one checkpoint that predictions need, as they were saved.
pub(crate) struct Weights {
    place: PathBuf,
    /// Where the run stood.
    pub(super) state: super::RunState,
    pub(super) structure: Option<mtl_sharing::Structure>,
    model: Vec<u8>,
    sharing: Vec<u8>,
}

impl Weights {
    /// Reads them from `checkpoint`.
    ///
    /// # Errors
    /// As of [`verify`], for these files alone.
    pub(super) fn read(checkpoint: &Path) -> Result<Self> {
        let manifest = Manifest::read(checkpoint)?;
        let structure = match manifest.files.contains_key(STRUCTURE) {
            true => Some(parsed(&checkpoint.join(STRUCTURE), &manifest.bytes(STRUCTURE)?)?),
            false => None,
        };
        let state = manifest.state();
        Ok(Self {
            place: checkpoint.to_path_buf(),
            state: parsed(&checkpoint.join(state), &manifest.bytes(state)?)?,
            structure,
            model: manifest.bytes(MODEL)?,
            sharing: manifest.bytes(SHARING)?,
        })
    }

    /// The checkpoint that they are of.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// The SHA-256 over those of all files of a snapshot, in the order in which it is written.
    pub(super) fn digest(&self) -> Result<String> {
        let manifest = Manifest::read(&self.place)?;
        let mut digest = Sha256::new();
        for file in [MODEL, OPTIMIZER, SHARING, STRUCTURE, STATE] {
            digest.update(Sha256::digest(manifest.bytes(file)?));
        }
        Ok(hex(&digest.finalize()))
    }

    pub(super) fn model(&self) -> Result<BTreeMap<String, Tensor>> {
        tensors(&self.place.join(MODEL), &self.model)
    }

    pub(super) fn sharing(&self) -> Result<BTreeMap<String, Tensor>> {
        tensors(&self.place.join(SHARING), &self.sharing)
    }
}

/// What the optimizer of `checkpoint` remembers.
///
/// # Errors
/// As of [`verify`], for that file alone.
pub(super) fn read_optimizer(checkpoint: &Path) -> Result<BTreeMap<String, Tensor>> {
    tensors(&checkpoint.join(OPTIMIZER), &Manifest::read(checkpoint)?.bytes(OPTIMIZER)?)
}

fn tensors(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    match candle_core::safetensors::load_buffer(bytes, &Device::Cpu) {
        Ok(tensors) => Ok(tensors.into_iter().collect()),
        Err(error) => bail!("{}: not a whole safetensors file: {error}", path.display()),
    }
}

/// The weights of the first of the checkpoints `names` in `folder` that is there; none if there is none of them. A
/// training may replace it meanwhile: what is read is of one save, for each file is what one manifest says; where the
/// checkpoint changed under the reader, it is read again.
///
/// # Errors
/// If it is damaged, naming file and remedy.
pub(crate) fn read_weights(folder: &Path, names: &[&str]) -> Result<Option<Weights>> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut before = seen(folder, names);
    for _ in 0..ATTEMPTS {
        let read = match &before {
            Some((_, place, _)) => Weights::read(place).map(Some),
            None => Ok(None),
        };
        let now = seen(folder, names);
        match read {
            Ok(Some(weights)) => return Ok(Some(weights)),
            Ok(None) if now.is_none() => return Ok(None),
            Err(error) if now == before => {
                return Err(error.context(remedy(folder, before.as_ref().map(|seen| &*seen.0))));
            }
            _ => {}
        }
        std::thread::sleep(PAUSE);
        before = seen(folder, names);
    }
    bail!(
        "{}: the checkpoint was replaced while it was read, {ATTEMPTS} times in a row; try again, or raise train.save_every",
        folder.display()
    )
}

/// The first of the checkpoints `names` that is there: its name, its place, and its manifest.
fn seen(folder: &Path, names: &[&str]) -> Option<(String, PathBuf, Option<Vec<u8>>)> {
    names.iter().find_map(|name| {
        let place = folder::candidates(folder, name).into_iter().next()?;
        let manifest = std::fs::read(place.join(MANIFEST)).ok();
        Some(((*name).to_string(), place, manifest))
    })
}

/// Copies the checkpoint `name` of the folder `from` into the folder `to`, without what its optimizer remembers; whether
/// there is one.
///
/// # Errors
/// If a file is not as it was saved, or the disk refuses.
pub(crate) fn copy_weights(from: &Path, name: &str, to: &Path) -> Result<bool> {
    let Some(place) = find(from, name) else { return Ok(false) };
    let manifest = Manifest::read(&place)?;
    let content = |file: &String| match file == OPTIMIZER {
        true => tensor_bytes(&BTreeMap::new()),
        false => manifest.bytes(file),
    };
    let contents: Vec<_> = manifest.files.keys().map(|file| (file, move || content(file))).collect();
    let files: Vec<(&str, folder::Content)> =
        contents.iter().map(|(file, content)| (file.as_str(), content as folder::Content)).collect();
    folder::write(to, name, &files, &mut || Ok(()))?;
    Ok(true)
}

/// What helps against a damaged checkpoint called `name`.
fn remedy(folder: &Path, name: Option<&str>) -> &'static str {
    let older = |name: &str| folder::candidates(folder, name).iter().skip(1).any(|older| verify(older).is_ok());
    match name {
        Some(LAST) if older(LAST) => {
            "the checkpoint cannot be used: resume the run, which goes on from the one before it; or restore it from a backup"
        }
        _ => "the checkpoint cannot be used: restore it from a backup, or train anew",
    }
}

/// Whether the folder of checkpoints `folder` holds one that a run goes on from, sound or not.
pub fn has_checkpoint(folder: &Path) -> bool {
    find(folder, LAST).is_some()
}
