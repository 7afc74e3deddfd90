//! From names to manifests and recipes: a name is a file of this workspace, anything that looks like a path is one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{Located, LocatedDataset, LocatedModel, Recipe};

use crate::fetch::Fetcher;

/// The embedded recipe, which needs nothing but this binary.
pub const EMBEDDED: &str = include_str!("../recipes/embedded.toml");

/// The workspace that this binary was built from.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Names of the TOML files in a folder of the workspace, sorted.
pub fn names(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(workspace().join(folder)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    names.sort_unstable();
    names
}

/// The file that `name` means: a path if it looks like one, else a file of `folder`.
///
/// # Errors
/// If there is no such file; names the nearest.
pub fn file(name: &str, folder: &str, what: &str) -> Result<PathBuf> {
    if name.ends_with(".toml") || name.contains(['/', '\\']) {
        let path = PathBuf::from(name);
        if path.exists() {
            return Ok(path);
        }
        let here = std::env::current_dir().map(|here| format!(" from {}", here.display())).unwrap_or_default();
        bail!("{what} `{name}`: no such file, seen{here}; a name without `.toml` and `/` is looked for in {folder}/");
    }
    let path = workspace().join(folder).join(format!("{name}.toml"));
    if path.exists() {
        return Ok(path);
    }
    let known = names(folder);
    let nearest = mtl_task::nearest(name, known.iter().map(String::as_str));
    bail!("unknown {what} `{name}`{nearest}; there are {}", known.join(", "))
}

/// A recipe's text, and what it is called in messages and run folders.
#[derive(Clone, Debug)]
pub struct RecipeText {
    /// Its file stem.
    pub name: String,
    /// Its path, for messages.
    pub place: String,
    /// The TOML.
    pub text: String,
}

/// The recipe that `name` means.
///
/// # Errors
/// If there is none.
pub fn recipe(name: &str) -> Result<RecipeText> {
    if name == "embedded" {
        return Ok(RecipeText { name: name.into(), place: "embedded.toml".into(), text: EMBEDDED.into() });
    }
    let path = file(name, "xtask/recipes", "recipe")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(RecipeText { name: stem(&path), place: path.display().to_string(), text })
}

/// Finds or fetches everything that `recipe` names.
///
/// # Errors
/// If a manifest is unknown or malformed, or no source has its files.
pub fn everything(recipe: &Recipe, fetcher: &Fetcher) -> Result<Located> {
    let path = file(&recipe.checkpoint, "models", "model")?;
    let manifest = ModelManifest::read(&path)?;
    let name = stem(&path);
    let folder = match manifest.random {
        Some(_) => None,
        None => Some(fetcher.model(&name, &manifest, &path)?),
    };
    let model = LocatedModel { name, manifest, folder };
    let mut datasets: Vec<LocatedDataset> = Vec::new();
    for task in &recipe.tasks {
        let path = file(task, "datasets", "dataset")?;
        let manifest = DatasetManifest::read(&path)?;
        let name = stem(&path);
        if datasets.iter().any(|dataset| dataset.name == name) {
            bail!("two tasks are called `{name}`; rename one of the manifests");
        }
        let folder = fetcher.dataset(&name, &manifest, &path)?;
        datasets.push(LocatedDataset { name, manifest, folder });
    }
    Ok(Located { datasets, model })
}

/// What the file at `path` is called in recipes, caches and reports.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed").to_string()
}
