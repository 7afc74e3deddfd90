//! From names to manifests, recipes and experiments.
//!
//! Anything that looks like a path is one. A name is looked for in the folder of its kind here (`./datasets`, `./models`,
//! `./recipes`, `./experiments`), then among what is shipped inside the binary.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use mtl_compare::paths::{anchored_overrides, anchored_recipe, is_path};
use mtl_compare::{Document, Library, Unavailable};
use mtl_data::manifest::{DatasetManifest, ModelManifest, Source, labelled};
use mtl_hub::Fetcher;
use mtl_train::{Located, LocatedDataset, LocatedModel, Recipe, Registries, check_manifest, write_atomically};
use sha2::{Digest, Sha256};

use crate::checkout::cache;
use crate::local::DataFolder;
use crate::watch::Fetching;
use crate::{assets, output, tasks};

/// What a name may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A dataset's manifest.
    Dataset,
    /// An experiment.
    Experiment,
    /// A model's manifest.
    Model,
    /// A recipe.
    Recipe,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Experiment => "experiment",
            Self::Model => "model",
            Self::Recipe => "recipe",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Experiment => "experiments",
            Self::Model => "models",
            Self::Recipe => "recipes",
        }
    }
}

/// The names that there are of a kind: those in its folder here, and those shipped; sorted.
pub fn names(kind: Kind) -> Vec<String> {
    let entries = std::fs::read_dir(kind.folder()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| assets::name(&entry.path())).collect();
    names.extend(assets::names(kind.folder()));
    names.sort_unstable();
    names.dedup();
    names
}

/// A file that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its text, and what it is called.
    pub document: Document,
    /// Where it lies, unless it is shipped.
    path: Option<PathBuf>,
}

/// The file of a kind that `name` means.
///
/// # Errors
/// If there is no such file; names the nearest.
pub fn find(kind: Kind, name: &str) -> Result<Found> {
    let (noun, folder) = (kind.noun(), kind.folder());
    if is_path(name) {
        let path = PathBuf::from(name);
        if path.exists() {
            return read(kind, path);
        }
        if let Some(hint) = repository(kind, name) {
            bail!("{noun} `{name}`: no such file; {hint}");
        }
        let here = std::env::current_dir().map(|here| format!(" from {}", here.display())).unwrap_or_default();
        bail!(
            "{noun} `{name}`: no such file, seen{here}; a name without `.toml` and `/` is looked for in {folder}/ and among \
             those that are shipped"
        );
    }
    let path = Path::new(folder).join(format!("{name}.toml"));
    if path.exists() {
        return read(kind, path);
    }
    if let Some(text) = assets::text(folder, name) {
        let location = path.display().to_string();
        let document = Document { name: name.into(), location, folder: PathBuf::new(), text: text.into() };
        return Ok(Found { document, path: None });
    }
    let known = names(kind);
    let nearest = mtl_task::nearest(name, known.iter().map(String::as_str));
    bail!("unknown {noun} `{name}`{nearest}; there are {}", known.join(", "))
}

/// What somebody needs who wrote the name of a repository of the Hub.
fn repository(kind: Kind, name: &str) -> Option<String> {
    let (owner, title) = name.split_once('/')?;
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\']);
    if !matches!(kind, Kind::Dataset | Kind::Model) || !plain(owner) || !plain(title) || title.ends_with(".toml") {
        return None;
    }
    let known = names(kind);
    let title = title.to_lowercase();
    let near = known.iter().find(|known| **known == title).map(|known| format!("`{known}` is shipped; else "));
    Some(format!(
        "if it is a repository of the Hub, {}write a manifest that names it ([[source]] kind = \"hub\", repo = \"{name}\"), \
         as those in {}/ do, and give its path here",
        near.unwrap_or_default(),
        kind.folder()
    ))
}

fn read(kind: Kind, path: PathBuf) -> Result<Found> {
    let mut text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed").to_string();
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    if matches!(kind, Kind::Recipe | Kind::Experiment) {
        text = tasks::expanded(&text, &folder).unwrap_or(text);
    }
    let document = Document { name, location: path.display().to_string(), folder, text };
    Ok(Found { document, path: Some(path) })
}

impl Found {
    /// Where it lies, or where it would lie if it were not shipped.
    fn location(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(&self.document.location))
    }

    /// What its files are called in a cache that several projects share: its name, if it is as shipped; else followed by a
    /// hash of its sources, because another project may mean something else by that name.
    fn cached(&self, kind: Kind, sources: &[Source]) -> Result<String> {
        let Document { name, text, .. } = &self.document;
        if assets::text(kind.folder(), name) == Some(text) {
            return Ok(name.clone());
        }
        let digest = Sha256::digest(serde_json::to_vec(sources)?);
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{name}-{digits}"))
    }

    fn shipped<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.document.text).with_context(|| self.document.location.clone())
    }
}

/// The dataset that `name` means: its manifest, of the label column that `name` may choose, and where that was found.
///
/// # Errors
/// If there is none, or its manifest is malformed.
pub fn dataset(name: &str) -> Result<(DatasetManifest, Found)> {
    let (found, label) = tasks::chosen(name)?;
    let manifest = match &found.path {
        Some(path) => DatasetManifest::read(path)?,
        None => found.shipped()?,
    };
    Ok((tasks::of_label(manifest, &found.document.name, label)?, found))
}

/// The model that `name` means: its manifest, and where that was found.
///
/// # Errors
/// As [`dataset`].
pub fn model(name: &str) -> Result<(ModelManifest, Found)> {
    let found = find(Kind::Model, name)?;
    let manifest = match &found.path {
        Some(path) => ModelManifest::read(path)?,
        None => found.shipped()?,
    };
    Ok((manifest, found))
}

/// A recipe as a command was given it: its paths are followed from the current folder.
#[derive(Clone, Debug)]
pub struct Given {
    /// What it is called.
    pub name: String,
    /// What it says.
    pub recipe: Recipe,
}

/// The recipe that `name` means, with `set` (`section.key=value`, paths from the current folder) applied.
///
/// # Errors
/// If there is none, or it is malformed.
pub fn recipe(registries: &Arc<Registries>, name: &str, set: &[String]) -> Result<Given> {
    let Document { name, location, folder, text } = find(Kind::Recipe, name)?.document;
    let set = anchored_overrides(&tasks::expanded_overrides(set), Path::new(""));
    let (recipe, dropped) = Recipe::parse(registries, &location, &text, &set)?;
    dropped.iter().for_each(|dropped| output::note(&dropped.to_string()));
    Ok(Given { name, recipe: anchored_recipe(&recipe, &folder) })
}

/// Finds what recipes name, and fetches it.
pub struct Files {
    /// What fetches.
    pub fetcher: Fetcher,
    /// Whether the cache is of this checkout alone.
    own: bool,
    registries: Arc<Registries>,
    /// Datasets that are read from folders of this machine.
    folders: Vec<DataFolder>,
}

impl Files {
    /// As the environment says; without the network if `offline`.
    ///
    /// # Errors
    /// If there is no place for a cache.
    pub fn new(registries: &Arc<Registries>, offline: bool) -> Result<Self> {
        let (cache, own) = cache()?;
        let mut fetcher = Fetcher::from_environment(cache, offline);
        fetcher.watch = Arc::new(Fetching::detect());
        Ok(Self { fetcher, own, registries: registries.clone(), folders: Vec::new() })
    }

    /// The same, with the datasets of `folders` read from there.
    ///
    /// # Errors
    /// If a dataset is given two folders.
    pub fn with_data(mut self, folders: &[DataFolder]) -> Result<Self> {
        for (at, folder) in folders.iter().enumerate() {
            if let Some(other) = folders[..at].iter().find(|other| other.name == folder.name) {
                bail!(
                    "--data: `{}` is given two folders, {} and {}",
                    folder.name,
                    other.folder.display(),
                    folder.folder.display()
                );
            }
        }
        self.folders = folders.to_vec();
        Ok(self)
    }

    /// Refuses folders of datasets that none of `tasks` is of.
    ///
    /// # Errors
    /// With the nearest one that is.
    pub fn check_data(&self, tasks: &[String]) -> Result<()> {
        if self.folders.is_empty() {
            return Ok(());
        }
        let names = tasks.iter().map(|task| Ok(tasks::chosen(task)?.0.document.name)).collect::<Result<Vec<_>>>()?;
        if let Some(folder) = self.folders.iter().find(|folder| !names.contains(&folder.name)) {
            let nearest = mtl_task::nearest(&folder.name, names.iter().map(String::as_str));
            bail!(
                "--data {}: no task is of the dataset `{}`{nearest}; there are {}",
                folder.argument(),
                folder.name,
                names.join(", ")
            );
        }
        Ok(())
    }

    /// The model that `name` means, fetched.
    ///
    /// # Errors
    /// If it is unknown or malformed; as [`Unavailable`] if no source has its files.
    pub fn model(&self, name: &str) -> Result<LocatedModel> {
        let (manifest, found) = model(name)?;
        let name = found.document.name.clone();
        let cached = if self.own { name.clone() } else { found.cached(Kind::Model, &manifest.sources)? };
        let folder = match manifest.random {
            Some(_) => None,
            None => {
                let place = self.unpacked(&found)?;
                let place = place.as_deref().unwrap_or(found.location());
                Some(self.fetcher.model(&cached, &manifest, place).map_err(Unavailable)?)
            }
        };
        Ok(LocatedModel { name, manifest, folder })
    }

    /// Where the manifest of a shipped model would lie beside the files that are shipped with it, which are written into
    /// the cache; none if it lies in a file, or has no such files.
    fn unpacked(&self, found: &Found) -> Result<Option<PathBuf>> {
        let name = &found.document.name;
        let files = assets::files(Kind::Model.folder(), name);
        if found.path.is_some() || files.is_empty() {
            return Ok(None);
        }
        // Another version of this program may have shipped others.
        let digest = files.iter().fold(Sha256::new(), |digest, (_, bytes)| digest.chain_update(bytes)).finalize();
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let home = self.fetcher.models.join(format!("shipped-{digits}"));
        let folder = home.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (file, bytes) in files {
            let path = folder.join(file);
            if !std::fs::read(&path).is_ok_and(|known| known == bytes) {
                write_atomically(&path, bytes)?;
            }
        }
        Ok(Some(home.join(format!("{name}.toml"))))
    }

    /// The manifest of the dataset that `given` means, whose members are known.
    fn manifest(&self, given: &str) -> Result<(DatasetManifest, Found)> {
        let (mut manifest, found) = dataset(given)?;
        if let Some(folder) = self.folder(&found) {
            manifest = folder.manifest(manifest, &self.registries)?;
        }
        check_manifest(&self.registries, &manifest).with_context(|| found.location().display().to_string())?;
        Ok((manifest, found))
    }

    /// The folder that the dataset `found` is read from, if one was given.
    fn folder(&self, found: &Found) -> Option<&DataFolder> {
        self.folders.iter().find(|folder| folder.name == found.document.name)
    }

    /// The dataset that `given` means, fetched.
    ///
    /// # Errors
    /// As [`Files::model`].
    pub fn dataset(&self, given: &str) -> Result<LocatedDataset> {
        let (manifest, found) = self.manifest(given)?;
        let name = found.document.name.clone();
        let cached = if self.own { name.clone() } else { found.cached(Kind::Dataset, &manifest.sources)? };
        let folder = match self.folder(&found) {
            Some(folder) => folder.folder.clone(),
            None => self.fetcher.dataset(&cached, &manifest, found.location()).map_err(Unavailable)?,
        };
        let name = tasks::chosen(given)?.1.map_or(name.clone(), |label| labelled(&name, label));
        Ok(LocatedDataset { name, manifest, folder })
    }
}

impl Library for Files {
    fn registries(&self) -> Arc<Registries> {
        self.registries.clone()
    }

    fn recipe(&self, name: &str) -> Result<Document> {
        Ok(find(Kind::Recipe, name)?.document)
    }

    fn locate(&self, recipe: &Recipe) -> Result<Located> {
        // A manifest that cannot be meant is said before anything is fetched.
        recipe.tasks.iter().try_for_each(|task| self.manifest(task).map(drop))?;
        let model = self.model(&recipe.checkpoint)?;
        let mut datasets: Vec<LocatedDataset> = Vec::new();
        for task in &recipe.tasks {
            let dataset = self.dataset(task)?;
            if datasets.iter().any(|known| known.name == dataset.name) {
                bail!("two tasks are called `{}`; rename one of the manifests", dataset.name);
            }
            datasets.push(dataset);
        }
        Ok(Located { datasets, model })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_shipped_has_a_cache_folder_of_its_own() {
        let (manifest, mut found) = model("all-minilm-l6-v2").expect("shipped");
        let name = |found: &Found, sources: &[Source]| found.cached(Kind::Model, sources).expect("a name");
        assert_eq!(name(&found, &manifest.sources), "all-minilm-l6-v2");
        found.document.text += "# edited";
        let edited = name(&found, &manifest.sources);
        assert_eq!(edited.len(), "all-minilm-l6-v2-".len() + 8);
        assert_ne!(name(&found, &manifest.sources[1..]), edited, "other sources, another folder");
    }
}
