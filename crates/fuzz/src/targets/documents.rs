//! TOML that people write: recipes, manifests and experiments.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use mtl_compare::{Document, Experiment, Library};
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{Located, Recipe, Registries, check_manifest};

use super::rows::named;
use crate::scratch;

static REGISTRIES: LazyLock<Arc<Registries>> = LazyLock::new(Default::default);

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).context("stream did not contain valid UTF-8")
}

pub(super) fn dataset(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("dataset-manifest", "data.toml", bytes)?;
    let manifest = named(&path, DatasetManifest::read(&path))?;
    for label in manifest.labels() {
        manifest.of_label(label)?;
    }
    let again = toml::to_string(&manifest)?;
    toml::from_str::<DatasetManifest>(&again).expect("a manifest as it is written");
    check_manifest(&REGISTRIES, &manifest)
}

pub(super) fn model(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("model-manifest", "model.toml", bytes)?;
    let manifest = named(&path, ModelManifest::read(&path))?;
    let again = toml::to_string(&manifest)?;
    toml::from_str::<ModelManifest>(&again).expect("a manifest as it is written");
    REGISTRIES.architectures.find(&manifest.architecture)?;
    match &manifest.random {
        Some(config) => mtl_backbone::checkpoint::check_config(&serde_json::to_value(config)?),
        None => Ok(()),
    }
}

pub(super) fn recipe(bytes: &[u8]) -> Result<()> {
    let (found, _) = Recipe::parse(&REGISTRIES, "recipe.toml", text(bytes)?, &[])?;
    stands(&found)
}

/// A recipe written out with every default is the same recipe.
fn stands(recipe: &Recipe) -> Result<()> {
    let again =
        Recipe::parse_resolved(&REGISTRIES, "again.toml", &recipe.to_toml()?).expect("a recipe as it is written");
    assert!(again == *recipe, "a recipe that is written otherwise than it was read:\n{}", recipe.to_toml()?);
    Ok(())
}

const BASE: &str = "tasks = [\"planted-topic\", \"planted-mood\"]\ncheckpoint = \"embedded\"\n[train]\nsteps = 20\n";

pub(super) fn overrides(bytes: &[u8]) -> Result<()> {
    let lines: Vec<String> = text(bytes)?.lines().map(String::from).collect();
    let (found, _) = Recipe::parse(&REGISTRIES, "recipe.toml", BASE, &lines)?;
    stands(&found)
}

/// One recipe, whatever is asked for.
struct OneRecipe;

impl Library for OneRecipe {
    fn registries(&self) -> Arc<Registries> {
        REGISTRIES.clone()
    }

    fn recipe(&self, name: &str) -> Result<Document> {
        Ok(Document { name: name.into(), location: name.into(), folder: PathBuf::new(), text: BASE.into() })
    }

    fn locate(&self, _recipe: &Recipe) -> Result<Located> {
        bail!("nothing is located here")
    }
}

pub(super) fn experiment(bytes: &[u8]) -> Result<()> {
    let document = Document {
        name: "experiment".into(),
        location: "experiment.toml".into(),
        folder: PathBuf::new(),
        text: text(bytes)?.into(),
    };
    let found = Experiment::parse("experiment", &document, &[], &OneRecipe)?;
    assert!(!found.seeds().is_empty() && found.stages() > 0);
    found.arms().map(drop)
}
