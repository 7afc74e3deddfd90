//! What is shipped inside the binary: manifests of datasets and models, recipes, experiments.

use std::path::Path;

use include_dir::{Dir, include_dir};

static ASSETS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets");

/// The text of the shipped file `folder`/`name`.toml.
pub(crate) fn text(folder: &str, name: &str) -> Option<&'static str> {
    ASSETS.get_file(format!("{folder}/{name}.toml"))?.contents_utf8()
}

/// The files that are shipped beside `folder`/`name`.toml, in the folder `folder`/`name`: each by its name.
pub(crate) fn files(folder: &str, name: &str) -> Vec<(&'static str, &'static [u8])> {
    let files = ASSETS.get_dir(format!("{folder}/{name}")).into_iter().flat_map(Dir::files);
    files.filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents()))).collect()
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

/// The files beside the manifest `folder`/`name`.toml, in `here`, that this binary has not, or has otherwise; and those
/// that it has and `here` has not.
fn differing_files(here: &Path, folder: &str, name: &str) -> std::io::Result<Vec<String>> {
    let mut shipped = files(folder, name);
    let mut found = Vec::new();
    let entries = if here.is_dir() { Some(std::fs::read_dir(here)?) } else { None };
    for entry in entries.into_iter().flatten() {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let bytes = std::fs::read(entry.path())?;
        if !shipped.iter().any(|(known, shipped)| *known == file && **shipped == *bytes) {
            found.push(format!("{folder}/{name}/{file}"));
        }
        shipped.retain(|(known, _)| *known != file);
    }
    found.extend(shipped.iter().map(|(file, _)| format!("{folder}/{name}/{file}")));
    Ok(found)
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
            found.extend(differing_files(&path.with_extension(""), folder, &name)?);
        }
        found.extend(shipped.iter().map(|name| format!("{folder}/{name}.toml")));
    }
    found.sort();
    Ok(found)
}
