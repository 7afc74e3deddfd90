//! What a run was trained on, in a few digits: a changed file, label or split shows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use mtl_task::Cell;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::manifest::DatasetManifest;
use crate::{RawExample, Texts};

/// A dataset in digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Hex SHA-256 of each file, by its name in the manifest; none for generated text.
    pub files: BTreeMap<String, String>,
    /// Train, dev and test, whole, whatever a recipe's limits.
    pub splits: BTreeMap<String, SplitFingerprint>,
    /// Whether its texts are pairs; nothing in a run of before, which does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<bool>,
    /// The columns of its files that hold the text, the two texts of a pair, or the words; none for generated text, and
    /// in a run of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// A split in digits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFingerprint {
    /// Its rows.
    pub rows: usize,
    /// Hex SHA-256 of texts and labels in their order, the labels as they are called after the manifest's `label_names`.
    pub sha256: String,
}

/// The digits of the files that `manifest` names, lying in `folder`.
///
/// # Errors
/// If one cannot be read.
pub fn files(manifest: &DatasetManifest, folder: &Path) -> Result<BTreeMap<String, String>> {
    let splits = &manifest.splits;
    let mut found = BTreeMap::new();
    for file in [&splits.train, &splits.dev, &splits.test, &splits.all].into_iter().flatten() {
        let path = folder.join(file);
        let digest = || -> io::Result<String> {
            let mut digest = Sha256::new();
            io::copy(&mut File::open(&path)?, &mut digest)?;
            Ok(hex(digest))
        };
        found.insert(file.clone(), digest().with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(found)
}

/// The digits of a split's rows.
pub(crate) fn split(rows: &[RawExample]) -> SplitFingerprint {
    let mut digest = Sha256::new();
    // Lengths in front, or two parts could be told as others.
    let mut part = |mark: &[u8], texts: &[&str]| {
        digest.update(mark);
        digest.update((texts.len() as u64).to_le_bytes());
        for text in texts {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
    };
    fn all(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }
    for row in rows {
        match &row.texts {
            Texts::One(text) => part(b"one", &[text]),
            Texts::Pair(a, b) => part(b"pair", &[a, b]),
            Texts::Tokens(words) => part(b"words", &all(words)),
        }
        match &row.label {
            Cell::Text(label) => part(b"label", &[label]),
            Cell::Many(labels) => part(b"labels", &all(labels)),
        }
    }
    SplitFingerprint { rows: rows.len(), sha256: hex(digest) }
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{At, Place};

    #[test]
    fn texts_labels_and_their_order_show() {
        let row = |texts: Texts, label: &str| RawExample {
            texts,
            label: Cell::Text(label.into()),
            place: Place { file: "rows".into(), at: At::Line(1) },
        };
        let one = |text: &str, label: &str| row(Texts::One(text.into()), label);
        let of = |rows: &[RawExample]| split(rows).sha256;
        let first = of(&[one("a", "x"), one("b", "y")]);
        assert_eq!(of(&[one("a", "x"), one("b", "y")]), first);
        assert_eq!(first.len(), 64);
        for other in [
            vec![one("a", "y"), one("b", "x")],
            vec![one("b", "y"), one("a", "x")],
            vec![one("a", "x")],
            vec![one("ax", ""), one("b", "y")],
            vec![row(Texts::Pair("a".into(), "x".into()), "x"), one("b", "y")],
            vec![row(Texts::Tokens(vec!["a".into()]), "x"), one("b", "y")],
        ] {
            assert_ne!(of(&other), first, "{other:?}");
        }
    }
}
