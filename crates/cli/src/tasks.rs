//! Datasets of several label columns in recipes: `tickets` or `my/tickets.toml` for all of their tasks, `tickets.team` or
//! `my/tickets.toml:team` for one.

use std::path::Path;

use anyhow::{Context, Result};
use mtl_compare::paths::{anchored, divided, is_path};
use mtl_data::manifest::{DatasetManifest, labelled};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Table, Value};

use crate::locate::{Found, Kind, find};

/// The file of the dataset that `name` means, and the label column that it chooses there.
///
/// # Errors
/// If there is no such file; names the nearest.
pub(crate) fn chosen(name: &str) -> Result<(Found, Option<&str>)> {
    let (file, label) = divided(name);
    if label.is_some() || is_path(file) {
        return Ok((find(Kind::Dataset, file)?, label));
    }
    // A file may have a dot in its name.
    match (find(Kind::Dataset, name), name.rsplit_once('.')) {
        (Err(_), Some((dataset, label))) => Ok((find(Kind::Dataset, dataset)?, Some(label))),
        (found, _) => Ok((found?, None)),
    }
}

/// `manifest` of the dataset `name` with the task of the column `label`, if one is chosen.
///
/// # Errors
/// If there is no such column; names the nearest.
pub(crate) fn of_label(manifest: DatasetManifest, name: &str, label: Option<&str>) -> Result<DatasetManifest> {
    match label {
        None => Ok(manifest),
        Some(label) => manifest.of_label(label).with_context(|| format!("dataset `{name}`")),
    }
}

/// `text`, a recipe or an experiment in `folder`, with the names of all tasks in place of datasets that have several.
/// Anything odd is left as it is, for others to refuse.
pub(crate) fn expanded(text: &str, folder: &Path) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let mut changed = expand(document.get_mut("tasks").and_then(|tasks| tasks.as_array_mut()), folder);
    let set = document.get_mut("set").and_then(|set| set.get_mut("tasks"));
    changed |= expand(set.and_then(|tasks| tasks.as_array_mut()), folder);
    changed |= expand_tables(document.get_mut("task").and_then(|tasks| tasks.as_array_of_tables_mut()), folder);
    changed.then(|| document.to_string())
}

/// The same of `--set tasks=[…]` among `overrides`, whose paths start from the current folder.
pub(crate) fn expanded_overrides(overrides: &[String]) -> Vec<String> {
    let one = |text: &String| {
        let tasks = text.split_once('=').filter(|(key, _)| key.trim() == "tasks");
        let table = tasks.and_then(|(_, names)| expanded(&format!("tasks = {names}"), Path::new("")));
        table
            .and_then(|table| Some(format!("tasks={}", table.split_once('=')?.1.trim())))
            .unwrap_or_else(|| text.clone())
    };
    overrides.iter().map(one).collect()
}

fn expand(tasks: Option<&mut Array>, folder: &Path) -> bool {
    let Some(tasks) = tasks else { return false };
    let mut all: Vec<Value> = Vec::new();
    let mut changed = false;
    for task in tasks.iter() {
        // A name, or a table of settings that has one.
        let table = task.as_inline_table();
        let name = task.as_str().or_else(|| table.and_then(|table| table.get("name")?.as_str()));
        match name.and_then(|name| labels(name, folder)) {
            None => all.push(task.clone()),
            Some(names) => {
                changed = true;
                for (index, name) in names.into_iter().enumerate() {
                    let mut value = match table {
                        None => Value::from(name),
                        Some(table) => {
                            let mut own = table.clone();
                            own.insert("name", name.into());
                            Value::from(own)
                        }
                    };
                    // The first one stands where the dataset stood, so that lines stay what they are.
                    match index {
                        0 => *value.decor_mut() = task.decor().clone(),
                        _ => value.decor_mut().set_prefix(" "),
                    }
                    all.push(value);
                }
            }
        }
    }
    if changed {
        tasks.clear();
        all.into_iter().for_each(|value| tasks.push_formatted(value));
    }
    changed
}

/// The same of [[task]]: every task of such a dataset has the settings of its table.
fn expand_tables(tables: Option<&mut ArrayOfTables>, folder: &Path) -> bool {
    let Some(tables) = tables else { return false };
    let (mut all, mut changed) = (Vec::<Table>::new(), false);
    for table in tables.iter() {
        match table.get("name").and_then(|name| name.as_str()).and_then(|name| labels(name, folder)) {
            None => all.push(table.clone()),
            Some(names) => {
                changed = true;
                all.extend(names.into_iter().map(|name| {
                    let mut own = table.clone();
                    own.insert("name", toml_edit::value(name));
                    own
                }));
            }
        }
    }
    if changed {
        *tables = ArrayOfTables::new();
        all.into_iter().for_each(|table| tables.push(table));
    }
    changed
}

/// The names of the tasks of the dataset called `name`, if it has several and none is chosen.
fn labels(name: &str, folder: &Path) -> Option<Vec<String>> {
    let (manifest, _) = crate::locate::dataset(&anchored(name, folder)).ok()?;
    let one = |label: &str| if is_path(name) { format!("{name}:{label}") } else { labelled(name, label) };
    manifest.is_of_several().then(|| manifest.labels().into_iter().map(one).collect())
}
