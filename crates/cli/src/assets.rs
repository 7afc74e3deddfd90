//! What is shipped inside the binary: manifests of datasets and models, recipes, experiments.

use std::path::Path;

use include_dir::{Dir, include_dir};

static ASSETS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets");

/// The text of the shipped file `folder`/`name`.toml.
pub(crate) fn text(folder: &str, name: &str) -> Option<&'static str> {
    ASSETS.get_file(format!("{folder}/{name}.toml"))?.contents_utf8()
}

/// Names of the TOML files that are shipped in `folder`, sorted.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let files = ASSETS.get_dir(folder).into_iter().flat_map(Dir::files);
    let mut names: Vec<String> = files.filter_map(|file| name(file.path())).collect();
    names.sort_unstable();
    names
}

/// The name of the TOML file `path`.
pub(crate) fn name(path: &Path) -> Option<String> {
    let toml = path.extension().is_some_and(|ending| ending == "toml");
    toml.then(|| path.file_stem()?.to_str().map(String::from))?
}

/// The files of the folders `datasets` and `models` of `checkout` that this binary has not, or has otherwise; and those
/// that it has and the checkout has not.
///
/// # Errors
/// If a folder cannot be read.
pub fn differing(checkout: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["datasets", "models"] {
        let mut shipped = names(folder);
        for entry in std::fs::read_dir(checkout.join(folder))? {
            let path = entry?.path();
            let Some(name) = name(&path) else { continue };
            shipped.retain(|known| *known != name);
            if text(folder, &name) != Some(&std::fs::read_to_string(&path)?) {
                found.push(format!("{folder}/{name}.toml"));
            }
        }
        found.extend(shipped.iter().map(|name| format!("{folder}/{name}.toml")));
    }
    found.sort();
    Ok(found)
}
