//! The ledger `fetch.lock`: what arrived from where, so that a file that changes at its source is noticed.
//!
//! A manifest may leave a revision or a hash empty. The first fetch takes them from the source and writes them here;
//! every later one holds the source to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// What one source gave for one model or dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The revision that the manifest asked for; empty if it left the choice to the Hub.
    #[serde(default)]
    pub(crate) asked: String,
    /// The commit that it turned out to be; empty for sources without commits.
    #[serde(default)]
    pub(crate) revision: String,
    /// Hex SHA-256 of each file, by its path at the source.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
}

/// By name of the item, then by source.
type Entries = BTreeMap<String, BTreeMap<String, Entry>>;

/// The ledger of one cache folder.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The ledger of the cache folder `root`.
    pub(crate) fn of(root: &Path) -> Self {
        Self { path: root.join("fetch.lock") }
    }

    /// What `source` gave for `item` when asked for the revision `asked`.
    pub(crate) fn entry(&self, item: &str, source: &str, asked: &str) -> Result<Entry> {
        let found = self.read()?.get(item).and_then(|sources| sources.get(source)).cloned();
        // Another revision is another promise.
        Ok(found.filter(|entry| entry.asked == asked).unwrap_or_default())
    }

    /// Writes down what `source` gave for `item`.
    pub(crate) fn record(&self, item: &str, source: &str, entry: Entry) -> Result<()> {
        let guard_path = self.path.with_extension("guard");
        let guard = File::create(&guard_path).with_context(|| format!("cannot write {}", guard_path.display()))?;
        guard.lock().with_context(|| format!("cannot lock {}", guard_path.display()))?;
        let mut entries = self.read()?;
        entries.entry(item.to_owned()).or_default().insert(source.to_owned(), entry);
        let text = format!(
            "# What was fetched, from where, and the SHA-256 it had. Remove an item's tables to accept a new version.\n\n{}",
            toml::to_string(&entries)?
        );
        let beside = self.path.with_extension("lock.new");
        let mut file = File::create(&beside).with_context(|| format!("cannot write {}", beside.display()))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path).with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn read(&self) -> Result<Entries> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Entries::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        match toml::from_str(&text) {
            Ok(entries) => Ok(entries),
            Err(error) => bail!("{}: {error}; removing the file forgets what was fetched", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_back_for_the_same_question_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::of(folder.path());
        let entry = Entry {
            asked: String::new(),
            revision: "c0ffee".into(),
            files: BTreeMap::from([("data/a.tsv".to_owned(), "00ff".to_owned())]),
        };
        ledger.record("a", "hub:x/y", entry.clone()).expect("recorded");
        ledger.record("b", "hub:x/y", Entry::default()).expect("recorded");
        assert_eq!(ledger.entry("a", "hub:x/y", "").expect("read"), entry);
        assert_eq!(ledger.entry("a", "hub:x/y", "v2").expect("read"), Entry::default());
        assert_eq!(ledger.entry("a", "pip:x==1", "").expect("read"), Entry::default());
    }
}
