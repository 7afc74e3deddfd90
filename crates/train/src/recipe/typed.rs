//! Sections whose keys are those of a type.

use anyhow::{Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check::{known, section};
use super::document::{Document, set};

/// Keys that were called otherwise: section, then, now.
const RENAMED: &[(&str, &str, &str)] = &[("evaluation", "keep_looks", "keep_evaluations")];

/// Keys that have no default to be seen by.
const OPTIONAL: &[(&str, &str)] = &[
    ("evaluation", "dev_as_train"),
    ("evaluation", "limit"),
    ("train", "data_seed"),
    ("train", "dev_seed"),
    ("train", "divergence"),
    ("train", "divergence_steps"),
    ("train", "dropout"),
    ("train", "epochs"),
    ("train", "epochs_of"),
    ("train", "sample_seed"),
    ("train", "stratified"),
];

/// A section with keys of its own.
pub(super) fn typed<T: DeserializeOwned + Serialize + Default>(document: &Document, name: &str) -> Result<T> {
    let fields = section(document, name)?;
    let mut object = serde_json::to_value(T::default())?;
    for (key, value) in &fields {
        let place = document.place(&[name, key]);
        // Recipes of before still open.
        let key = RENAMED.iter().find(|(section, old, _)| *section == name && old == key).map_or(key.as_str(), |r| r.2);
        let mut keys: Vec<&str> = object.as_object().into_iter().flat_map(|o| o.keys().map(String::as_str)).collect();
        keys.extend(OPTIONAL.iter().filter(|(section, _)| *section == name).map(|(_, key)| *key));
        known(document, &[name, key], &keys)?;
        // TOML has no null; it is what is made of `nan` and `inf`, and an optional key would take it for left out.
        if value.is_null() {
            bail!("{place}: `{key}` must be finite");
        }
        set(&mut object, key, value.clone());
        if let Err(error) = serde_json::from_value::<T>(object.clone()) {
            bail!("{place}: `{key}` cannot be {value}: {error}");
        }
    }
    Ok(serde_json::from_value(object)?)
}
