//! `plan.json`: what a plan was made with, beside its runs: the experiment's own settings, the data, the program.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use mtl_data::file_fingerprints;
use mtl_train::{Located, write_atomically};
use serde::{Deserialize, Serialize};

use crate::{Arm, Experiment, Options};

/// The file's name.
pub(super) const FILE: &str = "plan.json";

/// The setting that names the claims and their hash.
pub(super) const CLAIMS: &str = "claims";

/// What a plan was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Form of this file.
    format: u32,
    /// The program's version, and its commit where that is known.
    version: String,
    commit: Option<String>,
    /// What decides how records are compared and no recipe says, such as `baseline`, in words.
    pub(super) settings: BTreeMap<String, String>,
    /// Hex SHA-256 of every data file, as `task/file`; generated text has none.
    pub(super) data: BTreeMap<String, String>,
}

impl Header {
    /// What `experiment` over `arms` is planned with now.
    pub(super) fn now(experiment: &Experiment, arms: &[Arm], options: &Options, located: Option<&Located>) -> Self {
        let table = &experiment.table;
        let mut settings = BTreeMap::from([
            ("baseline".to_string(), table.baseline.clone()),
            ("level".into(), table.level.to_string()),
            ("resamples".into(), table.resamples.to_string()),
        ]);
        settings.extend(experiment.claimed.iter().map(|claimed| (CLAIMS.to_string(), claimed.words())));
        for arm in arms {
            let of = if arm.of.is_empty() { String::new() } else { format!(" of {}", arm.of.join(", ")) };
            settings.insert(format!("role of `{}`", arm.spec.name), format!("{}{of}", arm.spec.role().name()));
        }
        Self {
            format: 1,
            version: env!("CARGO_PKG_VERSION").into(),
            commit: options.commit.clone(),
            settings,
            data: located.map(files).unwrap_or_default(),
        }
    }

    /// The header in the folder `out`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&text).map(Some).with_context(|| format!("{}: no header of a plan", path.display()))
    }

    /// Writes it into the folder `out`.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        write_atomically(&out.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// How the settings of `now` differ.
    pub(super) fn changed_settings(&self, now: &Self) -> Vec<String> {
        let all = self.settings.keys().chain(now.settings.keys().filter(|key| !self.settings.contains_key(*key)));
        let word = |header: &Self, key: &String| match header.settings.get(key) {
            Some(value) => format!("`{value}`"),
            None => "not there".into(),
        };
        let changed = all.filter(|key| self.settings.get(*key) != now.settings.get(*key));
        changed.map(|key| format!("{key}: was {}, is {}", word(self, key), word(now, key))).collect()
    }

    /// The data files of `now`, as `task/file`, that are not those of the plan.
    pub(super) fn changed_data(&self, now: &BTreeMap<String, String>) -> Vec<String> {
        let changed = self.data.iter().filter(|(name, digits)| now.get(*name).is_some_and(|now| now != *digits));
        changed.map(|(name, _)| name.clone()).collect()
    }
}

/// The digits of the files of every dataset; of one whose files are not here, none: loading says so.
pub(super) fn files(located: &Located) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for dataset in &located.datasets {
        let files = file_fingerprints(&dataset.manifest, &dataset.folder).unwrap_or_default();
        found.extend(files.into_iter().map(|(file, digits)| (format!("{}/{file}", dataset.name), digits)));
    }
    found
}
