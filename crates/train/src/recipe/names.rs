//! What the tasks of a recipe are called.

use std::path::Path;

use mtl_data::manifest::labelled;

/// The path of a dataset's manifest and the label column that is chosen there: `my/tickets.toml:team`. In what is no
/// path, such as `tickets.team`, both are one name.
pub fn divided(name: &str) -> (&str, Option<&str>) {
    const ENDING: &str = ".toml";
    let parts = name.rfind(".toml:").and_then(|at| name.split_at_checked(at + ENDING.len()));
    match parts.and_then(|(file, label)| Some((file, label.strip_prefix(':')?))) {
        Some((file, label)) => (file, Some(label)),
        None => (name, None),
    }
}

/// What the manifest called `name`, or lying at that path, is called in reports: its file stem, and the label column that
/// is chosen there.
pub fn task_name(name: &str) -> String {
    let (file, label) = divided(name);
    let path = Path::new(file);
    let stem = if file.ends_with(".toml") { path.file_stem() } else { path.file_name() };
    let stem = stem.and_then(|stem| stem.to_str()).unwrap_or(file);
    label.map_or(stem.to_string(), |label| labelled(stem, label))
}
