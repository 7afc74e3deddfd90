//! Whether this is a checkout of mtl, and where fetched files are kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use etcetera::BaseStrategy;
use mtl_hub::Cache;

/// The checkout of mtl that the current folder lies in, if it lies in one.
pub fn checkout() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().find(|folder| is_checkout(folder)).map(Path::to_path_buf)
}

fn is_checkout(folder: &Path) -> bool {
    let says = |name: &str, text: &str| {
        std::fs::read_to_string(folder.join(name)).is_ok_and(|manifest| manifest.contains(text))
    };
    says("crates/cli/Cargo.toml", "name = \"mtl-cli\"") && says("Cargo.toml", "[workspace]")
}

/// Where fetched files are kept, and whether that is of this checkout alone: `MTL_CACHE`; in a checkout, beside the
/// manifests; else the user's cache folder.
///
/// # Errors
/// If there is no such folder, because nobody says where the user is at home.
pub(crate) fn cache() -> Result<(Cache, bool)> {
    if let Some(given) = std::env::var_os("MTL_CACHE").filter(|given| !given.is_empty()) {
        return Ok((Cache::under(Path::new(&given)), false));
    }
    if let Some(checkout) = checkout() {
        let of = |kind: &str| checkout.join(kind).join("cache");
        return Ok((Cache { models: of("models"), datasets: of("datasets") }, true));
    }
    let folders = etcetera::choose_base_strategy()
        .context("cannot tell where to keep fetched files; set MTL_CACHE to a folder, or HOME")?;
    Ok((Cache::under(&folders.cache_dir().join("mtl")), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_is_a_checkout_and_an_empty_folder_is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert!(is_checkout(&root) && !is_checkout(&root.join("crates")));
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!is_checkout(folder.path()));
    }
}
