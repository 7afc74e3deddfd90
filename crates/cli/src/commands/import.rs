//! `import`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use clap::Args;
use mtl_backbone::checkpoint::TEMPORARY_PREFIX;
use mtl_compare::paths;
use mtl_data::manifest::{ModelManifest, Source, WantedFile};
use mtl_export::Import as Found;
use mtl_task::TaskId;
use mtl_train::{Located, LocatedModel, Recipe, Run, RunOptions, Spent, Start};
use toml::{Table, Value};

use super::train::free_folder;
use crate::Overrides;
use crate::device::set_threads;
use crate::local::DataFolders;
use crate::locate::Files;
use crate::output::{note, result};

/// Files of a folder that a run reads its encoder and its tokenizer from.
const FILES: [&str; 10] = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
];

/// Make a run of a model that was fine-tuned elsewhere
///
/// The folder is one that transformers saved a class for texts or tokens in, or sentence-transformers with a Dense module.
/// What it answers has to be a task of a dataset: the run is scored on its dev split, and can be evaluated, compared and
/// exported as any other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} import spam --task spam-assassin --out runs/spam\n  \
                        {program} import spam --task spam-assassin --labels ham,spam")]
pub struct Import {
    /// The folder of the model
    folder: PathBuf,
    /// The dataset that it answers: its name, or the path of its manifest
    #[arg(long)]
    task: String,
    /// The run folder [default: the next free one of runs/<name of the folder>]
    #[arg(long)]
    out: Option<PathBuf>,
    /// What the outputs are called, in their order, where the folder does not say it or says it otherwise
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    #[command(flatten)]
    folders: DataFolders,
    #[command(flatten)]
    overrides: Overrides,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

impl Import {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        let registries = &context.registries;
        let mut found = Found::read(&registries.architectures, &self.folder)?;
        if !self.labels.is_empty() {
            found = found.with_labels(self.labels.clone())?;
        }
        let folder = std::path::absolute(&self.folder).with_context(|| self.folder.display().to_string())?;
        let name = folder.file_name().map_or("imported".into(), |name| name.to_string_lossy().into_owned());
        let out = self.out.clone().unwrap_or_else(|| free_folder(&name));
        if out.exists() && out.read_dir().with_context(|| out.display().to_string())?.next().is_some() {
            bail!("{}: the folder is not empty; choose another --out", out.display());
        }
        let files = Files::new(registries, self.offline)?.with_data(&self.folders.data)?;
        files.check_data(std::slice::from_ref(&self.task))?;
        let dataset = files.dataset(&self.task)?;
        let kind = dataset.manifest.kind(&registries.data.kinds)?;
        found.check(kind.name, &kind.truth).with_context(|| format!("dataset `{}`", dataset.name))?;

        // The run is made beside its place, so that a refusal leaves none; its paths are the same from there.
        let making = Making::beside(&out)?;
        let manifest = making.0.join(format!("{name}.toml"));
        let (text, model) = (recipe(&self.task, &manifest, &found)?, manifest_of(&folder, &found));
        let set = paths::anchored_overrides(&self.overrides.set, Path::new(""));
        let (recipe, _) = Recipe::parse(registries, &format!("import of {name}"), &text, &set)?;
        set_threads(recipe.train.threads)?;
        let located = Located {
            datasets: vec![dataset],
            model: LocatedModel { name: name.clone(), manifest: model.clone(), folder: Some(folder.clone()) },
        };
        let options = RunOptions {
            out: making.0.clone(),
            start: Start::New,
            recipe_name: name,
            fallback: false,
            commit: None,
            device_name: "cpu".into(),
        };
        let run = Run::new(paths::written_recipe(&recipe, &making.0), &located, options, &Device::Cpu)?;
        // Where the run's recipe says that its encoder is described.
        let text = format!("# Where the weights of this run came from.\n{}", toml::to_string(&model)?);
        mtl_train::write_atomically(&manifest, text.as_bytes())?;
        let weights = weights(&run, &found)?;
        let report = run.end_with(&weights, Spent::default())?;
        making.finish(&out)?;
        result(&report.to_markdown(&registries.metrics));
        note(&format!("run folder: {}", out.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// A run folder that is removed unless it is finished.
struct Making(PathBuf);

impl Making {
    /// Begins one beside `out`.
    fn beside(out: &Path) -> Result<Self> {
        let name = out.file_name().with_context(|| format!("{}: a folder's name was expected", out.display()))?;
        let place = out.with_file_name(format!("{TEMPORARY_PREFIX}{}-{}", std::process::id(), name.display()));
        std::fs::create_dir_all(&place).with_context(|| format!("cannot make the folder {}", place.display()))?;
        Ok(Self(place))
    }

    /// Puts it at `out`.
    fn finish(self, out: &Path) -> Result<()> {
        // Not every system renames over an empty folder.
        if out.exists() {
            std::fs::remove_dir(out).with_context(|| format!("{}: cannot be replaced", out.display()))?;
        }
        std::fs::rename(&self.0, out).with_context(|| format!("{}: the run cannot be put there", out.display()))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.0.exists() {
            // The error that ended the import is the one to be told.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A recipe that asks for the folder's encoder under its head, and trains nothing.
fn recipe(task: &str, manifest: &Path, found: &Found) -> Result<String> {
    let table = |entries: Vec<(&str, Value)>| -> Value {
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect::<Table>().into()
    };
    let sections: Table = [
        ("tasks", vec![task].into()),
        ("checkpoint", manifest.display().to_string().into()),
        ("sharing", table(vec![("strategy", "hard".into())])),
        ("weighting", table(vec![("rule", "equal".into())])),
        ("head", Value::try_from(found.settings())?),
        ("train", table(vec![("steps", 1.into()), ("max_tokens", i64::try_from(found.max_tokens)?.into())])),
        ("optimizer", table(vec![("rate", 0.0.into())])),
        (
            "evaluation",
            table(vec![
                ("every", 0.into()),
                ("keep", "last".into()),
                ("test", "sealed".into()),
                ("dev_limit", 0.into()),
                ("test_limit", 0.into()),
            ]),
        ),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_string(), value))
    .collect();
    Ok(toml::to_string(&sections)?)
}

/// The manifest of the folder as a model.
fn manifest_of(folder: &Path, found: &Found) -> ModelManifest {
    let shards =
        folder.read_dir().into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = FILES.map(String::from).to_vec();
    names.extend(shards.filter(|name| name.ends_with(".safetensors") && name != "model.safetensors"));
    names.retain(|name| folder.join(name).is_file());
    names.sort();
    let files = names.into_iter().map(|path| WantedFile { path, ..WantedFile::default() }).collect();
    ModelManifest {
        about: "a fine-tuned model that was imported".into(),
        licence: "not stated by the source".into(),
        architecture: found.architecture.clone(),
        verified: false,
        sources: vec![Source::Path { folder: folder.to_path_buf(), files }],
        random: None,
    }
}

/// Every parameter of the run's model: the encoder as it was read, the head as the folder has it.
fn weights(run: &Run, found: &Found) -> Result<BTreeMap<String, Tensor>> {
    let assembled = run.assembled();
    let (model, spec) = (&assembled.trainer.model, &assembled.datasets.first().context("a run without a task")?.spec);
    let mut weights = BTreeMap::new();
    for param in model.params.iter() {
        weights.insert(param.name().to_string(), param.snapshot()?);
    }
    let maps = found.maps(&spec.labels, spec.scale)?;
    for ((weight, bias), map) in model.heads.of(TaskId(0)).maps().iter().zip(&maps) {
        for (param, tensor) in [(weight, &map.weight), (bias, &map.bias)] {
            let values = Tensor::from_vec(tensor.data.clone(), tensor.shape.as_slice(), &Device::Cpu)?;
            weights.insert(param.name().to_string(), values);
        }
    }
    Ok(weights)
}
