//! Manifests: what a dataset or a checkpoint is, where it comes from, and how to know that it arrived whole.
//!
//! One TOML file each, in `datasets/` and `models/`, or anywhere else when a recipe names it by path.

mod labels;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_task::TaskSpec;
use serde::{Deserialize, Serialize};

pub use labels::{LabelColumn, labelled};

/// A dataset: labelled text, with one task over it, or several that are named in `[[columns.labels]]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetManifest {
    /// One line for `list`.
    #[serde(default)]
    pub about: String,
    /// The data's licence, as its source states it.
    #[serde(default = "unknown")]
    pub licence: String,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citation: Option<String>,
    /// Whether somebody has fetched and read the files this manifest describes.
    #[serde(default)]
    pub verified: bool,
    /// What the task is; left out where `[[columns.labels]]` name several.
    #[serde(default)]
    pub task: TaskSpec,
    /// Which columns hold what.
    #[serde(default)]
    pub columns: Columns,
    /// How the files are read.
    #[serde(default)]
    pub reader: ReaderSpec,
    /// The files of the splits, or how to draw them.
    #[serde(default)]
    pub splits: Splits,
    /// Where the files come from, in the order they are tried.
    #[serde(default, rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// For text that is generated, not fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<Generator>,
}

fn unknown() -> String {
    "unknown".into()
}

/// The columns of a dataset. A pair task names two texts, a tagging task its tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The text (default `text`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What the text is: left out, it is plain; `mail` is an internet message, of which subject and readable body are
    /// kept ([`crate::mail::readable`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_form: Option<String>,
    /// First text of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_a: Option<String>,
    /// Second text of a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_b: Option<String>,
    /// The words of a tagging task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// The truth (default `label`, or `tags` for tagging).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Separator of the labels of a set that is written as one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<String>,
    /// Replacements applied to the label cell before it is parsed, such as `"0" = "ham"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label_names: BTreeMap<String, String>,
    /// Several label columns of one table, each a task of its own; in place of `[task]` and the `label` keys above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelColumn>,
    /// What the label cell holds where there is no label, such as `["", "-"]`; `""` is an empty cell, and JSON's and
    /// Parquet's null. Such rows are left out. In tagging it is a word's tag (`["-100"]`): the word is read, and counts
    /// neither in the loss nor in a metric. Left out, cells that look like no label are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Multi-label only, in the place of `label`: columns of 0 and 1, one a label, which bears its column's name or what
    /// `label_names` makes of it. (A list of 0 and 1 in one column needs no key: `[task] labels` names its places.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indicators: Vec<String>,
}

impl Columns {
    /// The column that holds the truth of a task, `tagging` words or not.
    pub(crate) fn label(&self, tagging: bool) -> &str {
        let usual = if tagging { "tags" } else { "label" };
        self.label.as_deref().unwrap_or(usual)
    }

    /// The columns that hold the text, the two texts of a pair, or the words of a task that is `tagging` them.
    pub(crate) fn texts(&self, tagging: bool) -> Vec<String> {
        let named = |name: &Option<String>, usual: &str| name.clone().unwrap_or_else(|| usual.into());
        match (tagging, &self.text_a, &self.text_b) {
            (true, ..) => vec![named(&self.tokens, "tokens")],
            (false, Some(a), Some(b)) => vec![a.clone(), b.clone()],
            (false, ..) => vec![named(&self.text, "text")],
        }
    }
}

/// How files are read. Left out, the file's ending decides.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderSpec {
    /// A member of the reader registry: `jsonl`, `json`, `csv`, `tsv`, `conll`, `parquet`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Column names for files without a header line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header: Vec<String>,
    /// Lines to skip after the header line (some formats put types there).
    #[serde(default)]
    pub skip: usize,
    /// The files' encoding: `utf-8` (default), `utf-16`, `windows-1252`, `euc-kr`, `gb18030`, `shift_jis`, or any other
    /// label of the WHATWG's encoding standard. `latin-1` means `windows-1252`, as it does there. A file's byte order
    /// mark counts more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Delimited text only: the character between columns. Left out, it is the comma or the tab as the file's ending
    /// says, or whichever of `,` `;` tab `|` fits where that one does not, which is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The decimal mark of regression targets: `.` (default) or `,`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<char>,
    /// JSON arrays only: the key that they lie under, with dots between the keys of nested objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Delimited text only: quotes are ordinary characters.
    #[serde(default)]
    pub no_quotes: bool,
    /// Delimited text only: the most lines that a field in quotes may span (default 20). Where a quote is closed later
    /// than that, it was rather an ordinary character, and the rows between would be lost in one field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted_lines: Option<usize>,
}

/// Which file is which split. A split without a file is drawn from `train`, or from `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Splits {
    /// Files to train on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub train: Vec<String>,
    /// Files to choose by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dev: Vec<String>,
    /// Files to report on, once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Files that have to be split first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<String>,
    /// Column of `all` that names each row's split (values `train`, `dev`, `test`), where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Share of the rows drawn for dev where it has no file (default 0.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev_share: Option<f64>,
    /// Share of the rows drawn for test where it has no file (default 0.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_share: Option<f64>,
    /// Seed of the draw; part of the manifest so that everybody gets the same splits (default 0).
    #[serde(default)]
    pub seed: u64,
}

/// Text made by a program of this crate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// A member of the generator registry, such as `planted`.
    pub name: String,
    /// Its settings; the generator refuses those it does not know.
    #[serde(flatten)]
    pub settings: BTreeMap<String, toml::Value>,
}

/// A checkpoint: a pretrained encoder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// One line for `list`.
    #[serde(default)]
    pub about: String,
    /// The weights' licence, as their source states it.
    #[serde(default = "unknown")]
    pub licence: String,
    /// A member of the architecture registry.
    pub architecture: String,
    /// Whether somebody has fetched and loaded the files this manifest describes.
    #[serde(default)]
    pub verified: bool,
    /// Where the files come from, in the order they are tried.
    #[serde(default, rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// For an encoder of random weights that needs no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<toml::Table>,
}

/// One place that files come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// The Hugging Face Hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Whether `repo` is a dataset repository.
        #[serde(default)]
        dataset: bool,
        /// A commit or tag; empty until one has been seen, then taken from the Hub and locked.
        #[serde(default)]
        revision: String,
        /// The files wanted.
        files: Vec<WantedFile>,
    },
    /// A package of the Python mirror, fetched by `pip download --no-deps NAME==VERSION`.
    Pip {
        /// Its name.
        package: String,
        /// Its exact version.
        version: String,
        /// Hex SHA-256 of the archive, so that nothing in it is run or unpacked unchecked; empty until it has been seen.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        sha256: String,
        /// The files wanted, by their path in the archive.
        files: Vec<WantedFile>,
    },
    /// A package of the npm mirror, fetched by `npm pack NAME@VERSION`.
    Npm {
        /// Its name.
        package: String,
        /// Its exact version.
        version: String,
        /// Hex SHA-256 of the archive, so that nothing in it is run or unpacked unchecked; empty until it has been seen.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        sha256: String,
        /// The files wanted, by their path in the archive.
        files: Vec<WantedFile>,
    },
    /// A folder of this machine, relative to the manifest, read in place: the files lie in it directly.
    Path {
        /// The folder.
        folder: PathBuf,
        /// The files wanted.
        files: Vec<WantedFile>,
    },
}

/// One file of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedFile {
    /// Where it lies in the repository, archive or folder.
    ///
    /// In an archive, `outer.tar.gz!/inner.txt` reaches into an archive within the archive, and `*` stands for any
    /// characters but `/`: the files so named arrive as one, in the order of their names, each ending in a line feed.
    pub path: String,
    /// What it is called here; left out, the last part of `path`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hex SHA-256 of its bytes; empty until it has been seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// Whether the job can do without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl WantedFile {
    /// What the file is called once it is here.
    pub fn local_name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.path.rsplit('/').next().unwrap_or(&self.path))
    }
}

impl Source {
    /// The files wanted from this source.
    pub fn files(&self) -> &[WantedFile] {
        match self {
            Self::Hub { files, .. } | Self::Pip { files, .. } | Self::Npm { files, .. } | Self::Path { files, .. } => {
                files
            }
        }
    }
}

impl DatasetManifest {
    /// Reads the manifest `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has unknown keys: with file, line and column; if it has no task, or two of
    /// one name.
    pub fn read(path: &Path) -> Result<Self> {
        let manifest: Self = read(path)?;
        manifest.check().with_context(|| path.display().to_string())?;
        Ok(manifest)
    }
}

impl ModelManifest {
    /// Reads the manifest `path`.
    ///
    /// # Errors
    /// As [`DatasetManifest::read`].
    pub fn read(path: &Path) -> Result<Self> {
        read(path)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the manifest {}", path.display()))?;
    match toml::from_str(&text) {
        Ok(manifest) => Ok(manifest),
        // The parser's own message carries line, column and the line itself.
        Err(error) => bail!("{}: {error}", path.display()),
    }
}
