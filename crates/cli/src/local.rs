//! `--data NAME=FOLDER`: a dataset's files as they lie on this machine, in place of its sources.
//!
//! The folder holds the files that the manifest names, or the splits in plain form: `train.jsonl`, and where there are
//! `dev.jsonl` and `test.jsonl` (any ending that a reader knows), with the columns `text` (`text_a` and `text_b`,
//! `tokens`) and `label` (`tags`). Task and names of classes stay the manifest's. What was read is recorded like any other
//! data: by the SHA-256 of its files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use mtl_data::manifest::{Columns, DatasetManifest, ReaderSpec, Splits};
use mtl_train::Registries;

/// The folders of datasets.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DataFolders {
    /// Read the dataset NAME from FOLDER: the files that its manifest names, or train, dev and test in plain form
    /// (train.jsonl with text and label, …); may be repeated
    #[arg(long = "data", value_name = "NAME=FOLDER", value_parser = parse)]
    pub(crate) data: Vec<DataFolder>,
}

/// A dataset, and where its files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder {
    /// The name of the dataset's manifest.
    pub name: String,
    /// The folder, from the current one.
    pub folder: PathBuf,
}

fn parse(text: &str) -> Result<DataFolder, String> {
    match text.split_once('=') {
        Some((name, folder)) if !name.trim().is_empty() && !folder.is_empty() => {
            Ok(DataFolder { name: name.trim().into(), folder: folder.into() })
        }
        _ => Err(format!("expected NAME=FOLDER, such as trec=data/trec, found `{text}`")),
    }
}

impl DataFolder {
    /// As it is typed.
    pub(crate) fn argument(&self) -> String {
        format!("{}={}", self.name, self.folder.display())
    }

    /// What `manifest` is over the files of this folder.
    ///
    /// # Errors
    /// If it holds neither the files that the manifest names nor `train` in plain form, or the text is generated.
    pub(crate) fn manifest(&self, mut manifest: DatasetManifest, registries: &Registries) -> Result<DatasetManifest> {
        let said = || format!("--data {}", self.argument());
        if manifest.generator.is_some() {
            bail!("{}: the text of `{}` is generated; it is read from no folder", said(), self.name);
        }
        if !self.folder.is_dir() {
            bail!("{}: no such folder", said());
        }
        let wanted = named(&manifest.splits);
        let missing: Vec<&String> = wanted.iter().copied().filter(|file| !self.folder.join(file).is_file()).collect();
        manifest.sources.clear();
        if !wanted.is_empty() && missing.is_empty() {
            return Ok(manifest);
        }
        let part = |names: &[&str]| plain(&self.folder, names, registries).with_context(said);
        let Some(train) = part(&["train"])? else {
            bail!(
                "{}: the folder lacks {} of its manifest, and there is no train.jsonl (or train.{}) either",
                said(),
                missing.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", "),
                endings(registries).join(", train."),
            )
        };
        let splits = &manifest.splits;
        manifest.splits = Splits {
            train: vec![train],
            dev: part(&["dev", "validation"])?.into_iter().collect(),
            test: part(&["test"])?.into_iter().collect(),
            dev_share: splits.dev_share,
            test_share: splits.test_share,
            seed: splits.seed,
            ..Splits::default()
        };
        if !manifest.columns.labels.is_empty() {
            bail!(
                "{}: `{}` has several label columns, of which there is no plain form; name its files as its manifest does",
                said(),
                self.name
            );
        }
        // How cells are written belongs to the columns of the sources; which cells hold no label is said of the labels.
        manifest.columns = Columns { ignore: manifest.columns.ignore, ..Columns::default() };
        manifest.reader = ReaderSpec::default();
        Ok(manifest)
    }
}

/// Every file that `splits` name.
fn named(splits: &Splits) -> Vec<&String> {
    [&splits.train, &splits.dev, &splits.test, &splits.all].into_iter().flatten().collect()
}

/// The endings that readers know.
fn endings(registries: &Registries) -> Vec<&'static str> {
    registries.data.readers.iter().flat_map(|reader| reader.endings).copied().collect()
}

/// The file in `folder` of one of `names`, with an ending that a reader knows.
fn plain(folder: &Path, names: &[&str], registries: &Registries) -> Result<Option<String>> {
    let endings = endings(registries);
    let files = names.iter().flat_map(|name| endings.iter().map(move |ending| format!("{name}.{ending}")));
    let found: Vec<String> = files.filter(|file| folder.join(file).is_file()).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, other, ..] => bail!("both `{one}` and `{other}` are there; leave one of them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> DatasetManifest {
        toml::from_str(text).expect("a manifest")
    }

    fn folder(files: &[&str]) -> (tempfile::TempDir, DataFolder) {
        let root = tempfile::tempdir().expect("a folder");
        files.iter().for_each(|file| std::fs::write(root.path().join(file), "").expect("written"));
        let folder = DataFolder { name: "it".into(), folder: root.path().to_path_buf() };
        (root, folder)
    }

    const HUB: &str = "[task]\nkind = \"classification\"\nlabels = [\"no\", \"yes\"]\n[columns]\ntext = \"sentence\"\n\
        [columns.label_names]\n0 = \"no\"\n[reader]\nskip = 1\n[splits]\ntrain = [\"a.csv\"]\ntest = [\"b.csv\"]\n\
        dev_share = 0.2\n";

    #[test]
    fn files_of_the_manifest_are_read_as_it_says() {
        let (_root, given) = folder(&["a.csv", "b.csv", "train.jsonl"]);
        let found = given.manifest(manifest(HUB), &Registries::default()).expect("all there");
        assert_eq!(found.splits.train, ["a.csv"]);
        assert_eq!((found.columns.text.as_deref(), found.reader.skip), (Some("sentence"), 1));
    }

    #[test]
    fn plain_splits_have_plain_columns_and_the_manifests_task() {
        let (_root, given) = folder(&["train.jsonl", "validation.csv", "a.csv"]);
        let found = given.manifest(manifest(HUB), &Registries::default()).expect("train is there");
        let Splits { train, dev, test, dev_share, .. } = &found.splits;
        assert_eq!(
            (train.as_slice(), dev.as_slice()),
            (&["train.jsonl".to_string()][..], &["validation.csv".into()][..])
        );
        assert!(test.is_empty() && *dev_share == Some(0.2), "a test that is not there is drawn as the manifest says");
        assert_eq!((found.columns.text, found.reader.skip), (None, 0));
        assert!(found.columns.label_names.is_empty());
        assert_eq!(found.task.labels, ["no", "yes"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let refused = |files: &[&str], text: &str| {
            let (_root, given) = folder(files);
            format!("{:#}", given.manifest(manifest(text), &Registries::default()).expect_err("refused"))
        };
        let error = refused(&["a.csv"], HUB);
        assert!(error.contains("lacks `b.csv`") && error.contains("train.jsonl"), "{error}");
        let error = refused(&["train.csv", "train.jsonl"], HUB);
        assert!(error.contains("both `train."), "{error}");
        let error = refused(&[], "[generator]\nname = \"planted\"\n");
        assert!(error.contains("generated"), "{error}");
        let nowhere = DataFolder { name: "it".into(), folder: "no/such/folder".into() };
        let error = nowhere.manifest(manifest(HUB), &Registries::default()).expect_err("refused");
        assert!(format!("{error:#}").contains("no such folder"), "{error:#}");
        assert!(parse("trec").is_err() && parse("=x").is_err() && parse("x=").is_err());
    }
}
