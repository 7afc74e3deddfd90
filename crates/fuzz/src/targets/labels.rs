//! Lists of labels and tags as they stand in the cells of a table: a dataset of each kind is loaded from one.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use mtl_data::manifest::DatasetManifest;
use mtl_data::{DataRegistries, LoadOptions, Tokenizer, load};

use crate::scratch;

static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::read(&super::tokenizers::folder("labels").expect("a folder")).expect("a tokenizer"));

const MANIFESTS: [(&str, &str); 4] = [
    ("classes", "[task]\nkind = \"classification\"\n[columns]\nlabel = \"class\"\n"),
    ("sets", "[task]\nkind = \"multilabel\"\n[columns]\nlabel = \"set\"\n"),
    ("values", "[task]\nkind = \"regression\"\n[columns]\nlabel = \"value\"\n"),
    ("tags", "[task]\nkind = \"tagging\"\n[columns]\ntokens = \"words\"\nlabel = \"tags\"\n"),
];

/// Loads the table as each of four datasets; refused if all of them are.
pub(super) fn table(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("labels", "rows.csv", bytes)?;
    let folder = path.parent().context("a folder")?;
    let (mut read, mut refused) = (false, None);
    for (name, text) in MANIFESTS {
        let manifest: DatasetManifest = toml::from_str(&format!("{text}[splits]\nall = [\"rows.csv\"]\n"))?;
        let options = LoadOptions { max_tokens: 32, ..LoadOptions::default() };
        let loaded = load(&DataRegistries::default(), name, &manifest, folder, &TOKENIZER, &options);
        read |= loaded.is_ok();
        refused = Some(loaded.map(drop)).filter(Result::is_err).or(refused);
    }
    refused.filter(|_| !read).unwrap_or(Ok(()))
}
