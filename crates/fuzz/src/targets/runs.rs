//! The files of a run's folder: a tiny run is trained for one step, and opened and resumed with one of its files changed.
//!
//! A checkpoint's manifest states the SHA-256 of each file, which is worked out anew for what is changed; in an input that
//! is a manifest, `<model.safetensors>` stands for the right digits of that file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use candle_core::Device;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{
    Located, LocatedDataset, LocatedModel, Observer, Recipe, Registries, Run, RunOptions, Start, StepReport, Trained,
};
use sha2::{Digest, Sha256};

use super::checkpoints::framed;
use crate::scratch;

const RECIPE: &str = "tasks = [\"topic\", \"mood\"]\ncheckpoint = \"tiny\"\n[weighting]\nrule = \"famo\"\n[train]\nsteps = 4\n\
                      batch = 2\nmax_tokens = 16\nthreads = 1\n[evaluation]\nevery = 0\ndev_limit = 4\ntest_limit = 4\n";
const MODEL: &str = "architecture = \"bert\"\n[random]\nhidden_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 2\n\
                     intermediate_size = 8\nmax_position_embeddings = 16\ntype_vocab_size = 2\nhidden_act = \"gelu\"\n\
                     layer_norm_eps = 1e-12\n";

static REGISTRIES: LazyLock<Arc<Registries>> = LazyLock::new(Default::default);

/// The run that every target changes a copy of.
static TRAINED: LazyLock<PathBuf> = LazyLock::new(|| {
    let out = scratch::folder("trained").expect("a folder").join("run");
    let ended = new(&out, false).expect("a run").execute(&mut AtOnce { done: false });
    ended.expect("a step");
    out
});

/// The folder of a tiny run after its first step.
pub fn trained_run() -> PathBuf {
    TRAINED.clone()
}

/// Interrupts after the first step.
struct AtOnce {
    done: bool,
}

impl Observer for AtOnce {
    fn step(&mut self, _step: usize, _of: usize, _rate: f64, _report: &StepReport) {
        self.done = true;
    }

    fn interrupted(&self) -> bool {
        self.done
    }
}

fn recipe() -> Result<Recipe> {
    Ok(Recipe::parse(&REGISTRIES, "tiny.toml", RECIPE, &[])?.0)
}

fn located() -> Result<Located> {
    let dataset = |name: &str, kind: &str| -> Result<LocatedDataset> {
        let text =
            format!("[task]\nkind = \"{kind}\"\n[generator]\nname = \"planted\"\ntask = \"{name}\"\nexamples = 24\n");
        let manifest: DatasetManifest = toml::from_str(&text)?;
        Ok(LocatedDataset { name: name.into(), manifest, folder: PathBuf::new() })
    };
    let manifest: ModelManifest = toml::from_str(MODEL)?;
    Ok(Located {
        datasets: vec![dataset("topic", "classification")?, dataset("mood", "regression")?],
        model: LocatedModel { name: "tiny".into(), manifest, folder: None },
    })
}

fn new(out: &Path, resume: bool) -> Result<Run> {
    let options = RunOptions {
        out: out.to_path_buf(),
        start: if resume { Start::Resume } else { Start::New },
        recipe_name: "tiny".into(),
        fallback: false,
        commit: None,
        device_name: "cpu".into(),
    };
    Run::new(recipe()?, &located()?, options, &Device::Cpu)
}

/// The run folder of a target.
fn folder(target: &str) -> Result<PathBuf> {
    let folder = scratch::folder(target)?.join("run");
    if !folder.exists() {
        copied(&TRAINED, &folder)?;
    }
    Ok(folder)
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copied(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

const LAST: &str = "checkpoints/last";

fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `text` with each `<file>` in place of the digits of that file of `checkpoint`.
fn with_digits(text: &str, checkpoint: &Path) -> Result<String> {
    let mut text = text.to_string();
    for entry in fs::read_dir(checkpoint)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if text.contains(&format!("<{name}>")) {
            text = text.replace(&format!("<{name}>"), &digits(&fs::read(&path)?));
        }
    }
    Ok(text)
}

fn opened(folder: &Path) -> Result<()> {
    Trained::open(&REGISTRIES, folder, &Device::Cpu).map(drop)
}

pub(super) fn manifest(bytes: &[u8]) -> Result<()> {
    let folder = folder("run-manifest")?;
    let checkpoint = folder.join(LAST);
    let bytes = match std::str::from_utf8(bytes) {
        Ok(text) => with_digits(text, &checkpoint)?.into_bytes(),
        Err(_) => bytes.to_vec(),
    };
    scratch::write(&checkpoint.join("manifest.json"), &bytes)?;
    opened(&folder)
}

/// Puts `bytes` into the file `name` of the last checkpoint of a target's run, with a manifest that says so.
fn changed(target: &str, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let folder = folder(target)?;
    let checkpoint = folder.join(LAST);
    scratch::write(&checkpoint.join(name), bytes)?;
    let path = checkpoint.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    manifest[name] = digits(bytes).into();
    scratch::write(&path, &serde_json::to_vec(&manifest)?)?;
    Ok(folder)
}

pub(super) fn state(bytes: &[u8]) -> Result<()> {
    // The state names the recipe by its SHA-256.
    let recipe = digits(&fs::read(TRAINED.join("recipe.toml"))?);
    let bytes = match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("<recipe.toml>", &recipe).into_bytes(),
        Err(_) => bytes.to_vec(),
    };
    let folder = changed("run-state", "state.json", &bytes)?;
    opened(&folder)?;
    new(&folder, true).map(drop)
}

pub(super) fn structure(bytes: &[u8]) -> Result<()> {
    opened(&changed("run-structure", "structure.json", bytes)?)
}

pub(super) fn tasks(bytes: &[u8]) -> Result<()> {
    let folder = folder("run-tasks")?;
    // The tasks have to be read, not refused by their digest.
    match fs::remove_file(folder.join("fingerprints.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    scratch::write(&folder.join("tasks.json"), bytes)?;
    opened(&folder)
}

/// The header stands in front of the values that the run stored.
pub(super) fn optimizer(bytes: &[u8]) -> Result<()> {
    let whole = fs::read(TRAINED.join(LAST).join("optimizer.safetensors"))?;
    let header = whole.first_chunk().map(|length| u64::from_le_bytes(*length)).context("a header")?;
    let data = whole.get(8 + header as usize..).context("values")?;
    let folder = changed("run-optimizer", "optimizer.safetensors", &framed(bytes, data))?;
    new(&folder, true).map(drop)
}
