//! From a checked recipe to the things it names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use mtl_backbone::checkpoint::Checkpoint;
use mtl_backbone::kernel::ProductPrecision as Rounding;
use mtl_backbone::{Architecture, Encoder, Family, Pretrained, pretrained_as, random};
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_data::{Audit, Dataset, LoadOptions, TaskSource, Tokenizer};
use mtl_sharing::{Model, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Registry, Task, TaskSpec};
use serde_json::Value;

use crate::device::{check_precision, check_recompute};
use crate::distill::SoftTargets;
use crate::manifest::{check_manifest, check_metrics, headline_of};
use crate::memory;
use crate::recipe::{EncoderPath as Route, Precision, Recipe};
use crate::registries::Registries;
use crate::step::Trainer;
use crate::trained_on::TrainedOn;

/// A dataset's manifest and files.
#[derive(Clone, Debug)]
pub struct LocatedDataset {
    /// The task's name: the manifest's file stem, followed by `.` and the label column where there are several.
    pub name: String,
    /// What it is; of several label columns the one chosen.
    pub manifest: DatasetManifest,
    /// Where its files lie.
    pub folder: PathBuf,
}

/// A model's manifest and files.
#[derive(Clone, Debug)]
pub struct LocatedModel {
    /// The manifest's file stem.
    pub name: String,
    /// What it is.
    pub manifest: ModelManifest,
    /// Where its files lie; a model of random weights has none.
    pub folder: Option<PathBuf>,
}

/// All files that a recipe needs, found or fetched.
#[derive(Clone, Debug)]
pub struct Located {
    /// In the recipe's order.
    pub datasets: Vec<LocatedDataset>,
    /// The pretrained encoder.
    pub model: LocatedModel,
}

/// Everything a run works with.
pub struct Assembled {
    /// The datasets, in the recipe's order.
    pub datasets: Vec<Dataset>,
    /// The tokenizer of the encoder.
    pub tokenizer: Tokenizer,
    /// The encoder as it was before training.
    pub pretrained: Pretrained,
    /// Model, rule and optimizer.
    pub trainer: Trainer,
    /// What teachers say of the training examples.
    pub(crate) targets: SoftTargets,
}

/// Builds everything that `recipe` names, on `device`.
///
/// # Errors
/// If a file is missing or malformed, or the recipe does not fit encoder or tasks.
pub fn assemble(recipe: &Recipe, located: &Located, device: &Device) -> Result<Assembled> {
    assemble_as(recipe, located, device, (Path::new(""), None))
}

/// As [`assemble`], for the run in a folder, which the paths of teachers start from, with the tasks as it stored them.
///
/// # Errors
/// As there, and if the data is not what the run was trained on.
pub(crate) fn assemble_as(
    recipe: &Recipe,
    located: &Located,
    device: &Device,
    (folder, trained_on): (&Path, Option<&TrainedOn>),
) -> Result<Assembled> {
    if let Some(trained_on) = trained_on {
        trained_on.check(located)?;
    }
    if device.is_cpu() {
        memory::check_files(located, memory::available())?;
    }
    let tokenizer = tokenizer(recipe, located)?;
    let pretrained = encoder(recipe, &located.model, &tokenizer, device)?;
    if tokenizer.vocabulary() > pretrained.encoder.vocabulary() {
        bail!(
            "{}: the tokenizer has ids up to {}, but the encoder's word table has {} rows; they are of different models",
            located.model.name,
            tokenizer.vocabulary() - 1,
            pretrained.encoder.vocabulary()
        );
    }
    if recipe.train.max_tokens > pretrained.encoder.max_tokens() {
        bail!(
            "train.max_tokens is {}, but `{}` reads at most {} tokens",
            recipe.train.max_tokens,
            located.model.name,
            pretrained.encoder.max_tokens()
        );
    }
    if let Some(trained_on) = trained_on {
        trained_on.check_encoder(&located.model.name, &tokenizer, &pretrained)?;
    }
    let mut datasets = datasets(&recipe.registries, located, &tokenizer, |name| recipe.load_options_of(name))?;
    if let Some(trained_on) = trained_on {
        trained_on.take(&recipe.registries.data.kinds, &mut datasets)?;
    }
    headlines(recipe, &mut datasets)?;
    // Before labels are spoilt: teachers answer texts.
    let targets = SoftTargets::of(recipe, &datasets, folder, device)?;
    if let Some(trained_on) = trained_on {
        trained_on.check_teachers(&targets)?;
    }
    recipe.control.apply(recipe.train.seed, &mut datasets)?;
    let specs: Vec<(String, TaskSpec)> = datasets.iter().map(|d| (d.name.clone(), d.spec.clone())).collect();
    let trainer = trainer(recipe, &pretrained, &specs, device)?;
    Ok(Assembled { datasets, tokenizer, pretrained, trainer, targets })
}

/// Gives tasks the headline metrics that `recipe` states.
///
/// # Errors
/// If it has settings of a task that is not among `datasets`, or a metric that does not judge its task.
fn headlines(recipe: &Recipe, datasets: &mut [Dataset]) -> Result<()> {
    let Registries { metrics, data, .. } = recipe.registries.as_ref();
    for (name, settings) in &recipe.task_settings {
        let known: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let Some(at) = known.iter().position(|known| known == name) else {
            let nearest = mtl_task::nearest(name, known.iter().copied());
            bail!("[task.{name}]: no task `{name}`{nearest}; there are {}", known.join(", "))
        };
        let (Some(metric), Some(dataset)) = (&settings.metric, datasets.get_mut(at)) else { continue };
        let context = || format!("[task.{name}] metric");
        headline_of(metrics, data.kinds.find(&dataset.spec.kind)?, metric).with_context(context)?;
        dataset.spec.metric = Some(metric.clone());
        dataset.task = mtl_task::build(&data.kinds, &dataset.spec).with_context(context)?;
    }
    Ok(())
}

/// Looks through the whole datasets of `recipe`, whatever its limits.
///
/// # Errors
/// If a file is missing or malformed.
pub fn audit_data(recipe: &Recipe, located: &Located) -> Result<Audit> {
    let tokenizer = tokenizer(recipe, located)?;
    let options = LoadOptions {
        max_tokens: recipe.train.max_tokens,
        overlap: recipe.evaluation.overlap,
        ..LoadOptions::default()
    };
    let datasets = datasets(&recipe.registries, located, &tokenizer, |_| options)?;
    mtl_data::audit(&datasets, &tokenizer, recipe.train.max_tokens)
}

/// The data of tasks that are trained together, see [`mtl_data::load_each`]: `options` are those of the task of a name.
pub(crate) fn datasets(
    registries: &Registries,
    located: &Located,
    tokenizer: &Tokenizer,
    options: impl Fn(&str) -> LoadOptions,
) -> Result<Vec<Dataset>> {
    for LocatedDataset { name, manifest, .. } in &located.datasets {
        check_manifest(registries, manifest).with_context(|| format!("dataset `{name}`"))?;
    }
    let sources: Vec<TaskSource> = (located.datasets.iter())
        .map(|dataset| TaskSource { name: &dataset.name, manifest: &dataset.manifest, folder: &dataset.folder })
        .collect();
    let options: Vec<LoadOptions> = sources.iter().map(|source| options(source.name)).collect();
    mtl_data::load_each(&registries.data, &sources, tokenizer, &options)
}

/// The trainer of a recipe over an encoder and named tasks, without any data.
///
/// # Errors
/// If they do not fit each other.
pub fn trainer(
    recipe: &Recipe,
    pretrained: &Pretrained,
    specs: &[(String, TaskSpec)],
    device: &Device,
) -> Result<Trainer> {
    let Registries { metrics, data, .. } = recipe.registries.as_ref();
    let task = |spec: &TaskSpec| -> Result<Box<dyn Task>> {
        let task = mtl_task::build(&data.kinds, spec)?;
        check_metrics(metrics, data.kinds.find(&spec.kind)?, task.as_ref())?;
        Ok(task)
    };
    let tasks = specs
        .iter()
        .map(|(name, spec)| task(spec).with_context(|| format!("task `{name}`")))
        .collect::<Result<Vec<Box<dyn Task>>>>()?;
    let sites = specs
        .iter()
        .zip(&tasks)
        .map(|((name, _), task)| TaskShape { name: name.clone(), outputs: task.outputs(), reads: task.reads() })
        .collect();
    let dtype = match recipe.train.precision {
        Precision::F32 | Precision::Bf16 => DType::F32,
        Precision::F64 => DType::F64,
    };
    let strategy = recipe.registries.strategies.find(&recipe.sharing.name)?;
    let heads: Vec<_> = specs.iter().map(|(name, _)| recipe.head_of(name).clone()).collect();
    let model = Model::build_with_heads(
        strategy,
        &recipe.sharing.settings,
        &heads,
        pretrained,
        sites,
        Key::new(recipe.train.seed).named("model"),
        device,
        dtype,
    )?;
    // Recipes and comparisons are checked before there is a model, by what the strategy says of its section.
    if let Some(shared) = model.shared().first()
        && !(strategy.shares_with)(&recipe.sharing.settings)?
    {
        bail!("strategy `{}` says that its tasks share nothing, but several train `{shared}`", recipe.sharing.name);
    }
    Trainer::new(recipe, model, tasks)
}

fn tokenizer(recipe: &Recipe, located: &Located) -> Result<Tokenizer> {
    if let Some(folder) = &located.model.folder {
        return Tokenizer::read(folder);
    }
    // An encoder of random weights reads the words that the generated tasks are made of.
    let generators = located.datasets.iter().filter_map(|dataset| dataset.manifest.generator.as_ref());
    let data = &recipe.registries.data;
    let masks = |dataset: &LocatedDataset| dataset.manifest.kind(&data.kinds).is_ok_and(|kind| !kind.labelled);
    Tokenizer::generated(&data.generators, generators, located.datasets.iter().any(masks))
        .context("a model of random weights needs tasks of generated text")
}

/// The encoder that a training of `recipe` begins from.
pub(crate) fn encoder(
    recipe: &Recipe,
    model: &LocatedModel,
    tokenizer: &Tokenizer,
    device: &Device,
) -> Result<Pretrained> {
    check_recompute(recipe, device.location())?;
    let architectures = &recipe.registries.architectures;
    let mut pretrained = match (&model.folder, &model.manifest.random) {
        (Some(folder), _) => from_folder(architectures, folder, &model.manifest.architecture)?,
        (None, Some(table)) => {
            for (key, value) in table {
                if value.as_float().is_some_and(|value| !value.is_finite()) {
                    bail!("model `{}`: random.{key} is {value}; a finite number was expected", model.name);
                }
            }
            let mut config: Value = serde_json::to_value(table)?;
            config["vocab_size"] = tokenizer.vocabulary().into();
            config["model_type"] = model.manifest.architecture.clone().into();
            if device.is_cpu() {
                memory::check_random(&model.name, &config, memory::available())?;
            }
            random(architectures, &model.manifest.architecture, &config, Key::new(recipe.train.seed).named("encoder"))
                .with_context(|| format!("model `{}`, [random]", model.name))?
        }
        (None, None) => bail!("model `{}` has neither files nor a [random] table", model.name),
    };
    if let Some(dropout) = recipe.train.dropout {
        pretrained.encoder = pretrained.encoder.with_dropout(dropout, dropout);
    }
    pretrained.encoder = computing(pretrained.encoder, recipe, device)?.with_recompute(recipe.train.recompute);
    Ok(pretrained)
}

/// `encoder` as `recipe` lets it compute on `device`.
pub(crate) fn computing(mut encoder: Family, recipe: &Recipe, device: &Device) -> Result<Family> {
    check_precision(recipe, device)?;
    // Other devices have no kernel, whose needs of the processor would be asked for in vain.
    if recipe.train.path == Route::Reference || !device.is_cpu() {
        encoder = encoder.with_path(mtl_backbone::Implementation::Reference);
    }
    if recipe.train.precision == Precision::Bf16 {
        encoder = encoder.with_precision(Rounding::Bf16).context(
            "train.precision = \"bf16\" with train.path = \"auto\"; `reference` is the path that rounds everywhere",
        )?;
    }
    Ok(encoder)
}

fn from_folder(architectures: &Registry<Architecture>, folder: &Path, architecture: &str) -> Result<Pretrained> {
    pretrained_as(architectures, &Checkpoint::read(folder)?, architecture)
}
