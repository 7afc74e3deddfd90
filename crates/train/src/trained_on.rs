//! What a run was trained on, stored in its folder: the tasks with their labels and scales, and the fingerprints of the
//! data and of the encoder.
//!
//! What the run stored decides. A head's outputs mean the labels of then, and its test split holds nothing that it was
//! trained on only as long as files and splits are those of then; so a difference is refused, with both fingerprints.

mod encoder;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_backbone::Pretrained;
use mtl_data::{Dataset, Fingerprint, Tokenizer, file_fingerprints};
use mtl_task::{Kind, Registry, TaskSpec};
use sha2::{Digest, Sha256};

use crate::assemble::{Assembled, Located};
use crate::distill::{SoftTargets, is_digest};
use crate::resume::hex;
use crate::store::write_atomically;

/// Names and tables of the tasks, in the recipe's order.
pub(crate) const TASKS: &str = "tasks.json";
/// The fingerprint of each task's data.
const DATA: &str = "data.json";
/// The fingerprints of the encoder, and of the files that the folder is read by.
const FINGERPRINTS: &str = "fingerprints.json";

/// Every file that is written here.
pub(crate) const FILES: [&str; 5] = [TASKS, DATA, FINGERPRINTS, encoder::CONFIG, encoder::TOKENIZER];

const REMEDY: &str = "restore it, or train anew under another --out (`predict` needs the run folder alone)";

/// The tasks and the data of a run.
#[derive(Clone, Debug)]
pub(crate) struct TrainedOn {
    /// Names and tables, in the recipe's order.
    pub(crate) tasks: Vec<(String, TaskSpec)>,
    /// By task; empty for runs of before there were any.
    data: BTreeMap<String, Fingerprint>,
    /// Of the encoder and the folder's files; empty for runs of before there were any.
    digests: encoder::Digests,
}

impl TrainedOn {
    /// What a run over `assembled` stores.
    ///
    /// # Errors
    /// Never for what could be assembled.
    pub(crate) fn of(assembled: &Assembled) -> Result<Self> {
        let datasets = || assembled.datasets.iter();
        Ok(Self {
            tasks: datasets().map(|dataset| (dataset.name.clone(), dataset.spec.clone())).collect(),
            data: datasets().map(|dataset| (dataset.name.clone(), dataset.fingerprint.clone())).collect(),
            digests: {
                let mut digests = encoder::digests(&assembled.tokenizer, &assembled.pretrained)?;
                digests.extend(assembled.targets.digests.clone());
                digests
            },
        })
    }

    /// What the run in `folder` stored; none if there is no run.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        fn json<T: Default + serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
            if !path.exists() {
                return Ok(T::default());
            }
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| path.display().to_string())
        }
        if !folder.join(TASKS).exists() {
            return Ok(None);
        }
        let (tasks, data) = (json(&folder.join(TASKS))?, json(&folder.join(DATA))?);
        Ok(Some(Self { tasks, data, digests: json(&folder.join(FINGERPRINTS))? }))
    }

    /// Writes it into `folder`, with what `assembled` has of the encoder.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn write(&self, folder: &Path, assembled: &Assembled) -> Result<()> {
        let tasks = serde_json::to_vec_pretty(&self.tasks)?;
        let mut digests = self.digests.clone();
        digests.insert(TASKS.into(), hex(&Sha256::digest(&tasks)));
        write_atomically(&folder.join(encoder::CONFIG), &encoder::config_bytes(&assembled.pretrained)?)?;
        write_atomically(&folder.join(encoder::TOKENIZER), assembled.tokenizer.to_json()?.as_bytes())?;
        write_atomically(&folder.join(TASKS), &tasks)?;
        write_atomically(&folder.join(DATA), &serde_json::to_vec_pretty(&self.data)?)?;
        write_atomically(&folder.join(FINGERPRINTS), &serde_json::to_vec_pretty(&digests)?)
    }

    /// Whether it has every fingerprint that a run stores today.
    pub(crate) fn is_complete(&self) -> bool {
        self.knows_encoder() && self.knows_data_of(self.tasks.iter().map(|(name, _)| name.as_str()))
    }

    /// Whether it has the fingerprints of the encoder.
    pub(crate) fn knows_encoder(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Whether its tasks are called `names`, in that order, and it has the fingerprints of the data of each.
    pub(crate) fn knows_data_of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        self.tasks.iter().map(|(name, _)| name.as_str()).eq(names)
            && self.tasks.iter().all(|(name, _)| self.data.contains_key(name))
    }

    /// Refuses the encoder and the tokenizer of the model `name` if they are not those that the run began from.
    ///
    /// # Errors
    /// Says what changed, from which fingerprint to which.
    pub(crate) fn check_encoder(&self, name: &str, tokenizer: &Tokenizer, pretrained: &Pretrained) -> Result<()> {
        if self.knows_encoder() { encoder::check(&self.digests, name, tokenizer, pretrained) } else { Ok(()) }
    }

    /// Whether it has the fingerprints of teachers.
    pub(crate) fn knows_teachers(&self) -> bool {
        self.digests.keys().any(|name| is_digest(name))
    }

    /// Refuses teachers that are not those that the run learns from.
    ///
    /// # Errors
    /// Says whose changed, from which fingerprint to which.
    pub(crate) fn check_teachers(&self, now: &SoftTargets) -> Result<()> {
        for (name, wanted) in self.digests.iter().filter(|(name, _)| is_digest(name)) {
            let found = now.digests.get(name).map_or("not there", String::as_str);
            if found != wanted {
                bail!(
                    "[distill] the {name} is not the one that the run began with: the SHA-256 of its weights was {wanted}, \
                     and is {found}; {REMEDY}"
                );
            }
        }
        match now.digests.keys().find(|name| self.knows_teachers() && !self.digests.contains_key(*name)) {
            Some(name) => bail!("[distill] the run began without a {name}; {REMEDY}"),
            None => Ok(()),
        }
    }

    /// Refuses the run folder `folder` if tasks, configuration or tokenizer in it are not as the run wrote them.
    ///
    /// # Errors
    /// As [`TrainedOn::check_encoder`].
    pub(crate) fn check_folder(&self, folder: &Path) -> Result<()> {
        encoder::check_folder(&self.digests, folder)
    }

    /// Whether the task called `name` reads pairs of texts, if the run says so.
    pub(crate) fn reads_pairs(&self, name: &str) -> Option<bool> {
        self.data.get(name).and_then(|data| data.pairs)
    }

    /// The columns that the task called `name` reads in its files, if the run says so.
    pub(crate) fn columns(&self, name: &str) -> &[String] {
        self.data.get(name).map_or(&[], |data| &data.columns)
    }

    fn task(&self, name: &str) -> Option<&TaskSpec> {
        self.tasks.iter().find(|(known, _)| known == name).map(|(_, spec)| spec)
    }

    /// Refuses manifests and files that have changed, before anything of them is read into a dataset. A task that the
    /// run does not have is for its recipe to refuse.
    ///
    /// # Errors
    /// Says what changed, from which fingerprint to which.
    pub(crate) fn check(&self, located: &Located) -> Result<()> {
        for dataset in &located.datasets {
            let Some(stored) = self.task(&dataset.name) else { continue };
            let context = || format!("dataset `{}`", dataset.name);
            let now = &dataset.manifest.task;
            // Labels that the manifest leaves out are those of the training split, and told by that.
            if !now.labels.is_empty() || now.kind != stored.kind {
                same_labels(stored, now).with_context(context)?;
            }
            if let Some(then) = self.data.get(&dataset.name) {
                same_files(then, dataset).with_context(context)?;
            }
        }
        Ok(())
    }

    /// Refuses `datasets` whose labels or splits are not those of then, and gives them the tasks that the run stored,
    /// each by one of `kinds`.
    ///
    /// # Errors
    /// As [`TrainedOn::check`].
    pub(crate) fn take(&self, kinds: &Registry<Kind>, datasets: &mut [Dataset]) -> Result<()> {
        for dataset in datasets {
            let Some(stored) = self.task(&dataset.name) else { continue };
            let name = dataset.name.clone();
            let context = || format!("dataset `{name}`");
            same_labels(stored, &dataset.spec).with_context(context)?;
            if let Some(then) = self.data.get(&name) {
                same_splits(then, &dataset.fingerprint).with_context(context)?;
            }
            dataset.task = mtl_task::build(kinds, stored).with_context(context)?;
            dataset.spec = stored.clone();
        }
        Ok(())
    }
}

fn same_labels(then: &TaskSpec, now: &TaskSpec) -> Result<()> {
    if then.kind != now.kind {
        bail!("the run was trained on a task of kind {}, which is one of kind {} now; {REMEDY}", then.kind, now.kind);
    }
    if then.labels == now.labels {
        return Ok(());
    }
    let print = |labels: &[String]| {
        let digits = hex(&Sha256::digest(serde_json::to_vec(labels).unwrap_or_default()));
        let shown = labels.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
        let more = if labels.len() > 12 { ", …" } else { "" };
        format!("{shown}{more} ({} labels, fingerprint {})", labels.len(), short(&digits))
    };
    bail!(
        "the label list is not the one that the run was trained on: then {}; now {}; {REMEDY}",
        print(&then.labels),
        print(&now.labels)
    )
}

fn same_files(then: &Fingerprint, dataset: &crate::LocatedDataset) -> Result<()> {
    let splits = &dataset.manifest.splits;
    let named = [&splits.train, &splits.dev, &splits.test, &splits.all];
    if named.into_iter().flatten().any(|file| !dataset.folder.join(file).is_file()) {
        // Loading says which, and what to do.
        return Ok(());
    }
    let now = file_fingerprints(&dataset.manifest, &dataset.folder)?;
    for (file, wanted) in &then.files {
        match now.get(file) {
            Some(found) if found == wanted => {}
            Some(found) => bail!(
                "{}: the file is not the one that the run was trained on: its SHA-256 was {wanted}, and is {found}; {REMEDY}",
                dataset.folder.join(file).display()
            ),
            None => bail!("the run was trained on the file `{file}`, which the manifest no longer names; {REMEDY}"),
        }
    }
    match now.keys().find(|file| !then.files.contains_key(*file)) {
        Some(file) => bail!("the manifest names the file `{file}`, which the run was not trained on; {REMEDY}"),
        None => Ok(()),
    }
}

fn same_splits(then: &Fingerprint, now: &Fingerprint) -> Result<()> {
    for (which, wanted) in &then.splits {
        let found = now.splits.get(which).cloned().unwrap_or_default();
        if found != *wanted {
            bail!(
                "the {which} split is not that of the run: it had {} rows of fingerprint {}, and has {} of fingerprint {}; \
                 something in the manifest that draws or reads it has changed; {REMEDY}",
                wanted.rows,
                short(&wanted.sha256),
                found.rows,
                short(&found.sha256)
            );
        }
    }
    Ok(())
}

fn short(digits: &str) -> &str {
    digits.get(..12).unwrap_or(digits)
}
