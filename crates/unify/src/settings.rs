//! Reading a method's settings, and the checks that several methods make.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Inputs, Tensor};

/// Over what magnitudes are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// All tensors of a model together, as one vector.
    Model,
    /// Each tensor on its own.
    Tensor,
}

/// Reads `value`, an object; keys left out take their defaults, unknown ones are refused with the nearest known.
pub(crate) fn read<S: Default + Serialize + DeserializeOwned>(method: &str, value: &Value) -> Result<S, String> {
    let Some(given) = value.as_object() else {
        return Err(format!("the settings of `{method}` must be a table of names and values, found {value}"));
    };
    let known = defaults::<S>();
    let names: Vec<&str> =
        known.as_object().map(|known| known.keys().map(String::as_str).collect()).unwrap_or_default();
    if let Some(name) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let known = if names.is_empty() { "it has none".into() } else { format!("there are {}", names.join(", ")) };
        return Err(format!(
            "`{method}` has no setting `{name}`{}; {known}",
            mtl_task::nearest(name, names.iter().copied())
        ));
    }
    serde_json::from_value(value.clone()).map_err(|error| format!("in the settings of `{method}`: {error}"))
}

/// The default settings, an object.
pub(crate) fn defaults<S: Default + Serialize>() -> Value {
    serde_json::to_value(S::default()).unwrap_or(Value::Null)
}

/// Refuses a factor that is not finite.
pub(crate) fn finite(method: &str, setting: &str, value: f64) -> Result<(), String> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(format!("`{setting}` of `{method}` must be a finite number, found {value}")),
    }
}

/// Refuses what is not from 0 to 1.
pub(crate) fn share(method: &str, setting: &str, value: f64) -> Result<(), String> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(()),
        false => Err(format!("`{setting}` of `{method}` is a share from 0 to 1, found {value}")),
    }
}

/// Refuses what is not above 0 and at most 1.
pub(crate) fn share_of_some(method: &str, setting: &str, value: f64) -> Result<(), String> {
    match value > 0.0 && value <= 1.0 {
        true => Ok(()),
        false => Err(format!("`{setting}` of `{method}` is a share above 0 and at most 1, found {value}")),
    }
}

/// Refuses weights of models that are negative, not finite or all 0; none at all is fine.
pub(crate) fn weights(method: &str, weights: &[f64]) -> Result<(), String> {
    let sound = weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite());
    match sound && (weights.is_empty() || weights.iter().sum::<f64>() > 0.0) {
        true => Ok(()),
        false => Err(format!("`weights` of `{method}` must be finite, at least 0 and not all 0, found {weights:?}")),
    }
}

/// The weight of each of so many models: those given, or 1 each if none are.
pub(crate) fn weights_of(method: &str, weights: &[f64], models: usize) -> anyhow::Result<Vec<f64>> {
    if weights.is_empty() {
        return Ok(vec![1.0; models]);
    }
    let found = weights.len();
    anyhow::ensure!(
        found == models,
        "`weights` of `{method}` needs a number for each of the {models} models, found {found}"
    );
    Ok(weights.to_vec())
}

/// What is taken as one piece of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// The whole tensor.
    Tensor,
    /// Each row: what the last dimension runs over. A vector is one row.
    Row,
}

impl Piece {
    /// The length of the pieces of `tensor`, at least 1.
    pub(crate) fn length(self, tensor: &Tensor) -> usize {
        let length = match self {
            Self::Tensor => tensor.values.len(),
            Self::Row => tensor.shape.last().copied().unwrap_or(1),
        };
        length.max(1)
    }
}

/// Refuses parts of names that no tensor has.
pub(crate) fn known_names(method: &str, exclude: &[String], inputs: &Inputs) -> anyhow::Result<()> {
    for part in exclude {
        let known = inputs.ancestor().keys().any(|name| name.contains(part.as_str()));
        anyhow::ensure!(known, "`exclude` of `{method}` has `{part}`, which is in the name of no tensor");
    }
    Ok(())
}

/// The rows and columns of a matrix whose name has none of `exclude` in it.
pub(crate) fn matrix(name: &str, tensor: &Tensor, exclude: &[String]) -> Option<(usize, usize)> {
    match tensor.shape[..] {
        [rows, columns] if !exclude.iter().any(|part| name.contains(part.as_str())) => Some((rows, columns)),
        _ => None,
    }
}
