//! A member of the registry of architectures, and how one reads a `config.json`.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Activation, HeadActivation, Names, Shape};

/// An architecture of the BERT family, by its name. [`Registry<Architecture>`](mtl_task::Registry) holds the built-in
/// ones by default, and takes those of a program: every field is public, so that another crate can write its own
/// constant.
#[derive(Clone, Copy)]
pub struct Architecture {
    /// The hub's `model_type`.
    pub name: &'static str,
    /// Other `model_type`s that are the same encoder.
    pub aliases: &'static [&'static str],
    /// One line for `list`.
    pub about: &'static str,
    /// The sizes that a `config.json` of this kind states.
    pub shape: fn(&Value) -> Result<Shape>,
    /// What its checkpoints call their tensors.
    pub names: &'static Names,
    /// Its classes with a head in transformers, for export and import; none if it has none there.
    pub classes: Option<&'static Classes>,
}

/// What transformers calls the classes of an architecture that have a head, and the head's tensors there.
///
/// A class for texts reads the first token's state x and computes `output(activation(dense(x)))`, `dense` being
/// `[hidden, hidden]`; one for tokens computes `classifier(x)` of every state. Dropout aside, which inference leaves out.
#[derive(Clone, Copy, Debug)]
pub struct Classes {
    /// What the names of the classes begin with, by the `model_type` that goes with them: its own, then its aliases'.
    pub stems: &'static [(&'static str, &'static str)],
    /// The `model_type` in transformers of an alias that has no such classes of its own.
    pub instead: Option<(&'static str, &'static str)>,
    /// In front of the encoder's tensors.
    pub prefix: &'static str,
    /// The map before the last one.
    pub dense: &'static str,
    /// The last map.
    pub output: &'static str,
    /// What stands between them.
    pub activation: HeadActivation,
    /// The key of `config.json` for the head's dropout.
    pub dropout: &'static str,
    /// The key of `config.json` for the number of layers.
    pub layers: &'static str,
    /// Keys of `config.json` that transformers would take another default for, with the values of an encoder.
    pub stated: fn(&Shape) -> Vec<(&'static str, Value)>,
}

/// The last map of a class for tokens, in every architecture.
pub const TOKEN_OUTPUT: &str = "classifier";

impl Classes {
    /// The `model_type` in transformers of what is `model_type` here, and what its classes' names begin with.
    pub fn stem(&self, model_type: &str) -> Option<(&'static str, &'static str)> {
        let known = |name: &str| self.stems.iter().copied().find(|(own, _)| *own == name);
        let instead = self.instead.filter(|(alias, _)| *alias == model_type);
        known(model_type).or_else(|| known(instead?.1))
    }
}

/// The whole number that `config` gives for `key`.
pub(crate) fn number(config: &Value, key: &str) -> Result<usize> {
    match config.get(key) {
        Some(value) => value
            .as_u64()
            .map(|value| value as usize)
            .with_context(|| format!("`{key}` must be a whole number, found {value}")),
        None => bail!("`{key}` is missing"),
    }
}

/// The number that `config` gives for `key`, or `default` if it gives none.
pub(crate) fn numbers_or(config: &Value, key: &str, default: f64) -> Result<f64> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_f64().with_context(|| format!("`{key}` must be a number, found {value}")),
    }
}

/// The activation that `config` gives for `key`, or `gelu` if it gives none.
pub(crate) fn activation(config: &Value, key: &str) -> Result<Activation> {
    let name = config.get(key).and_then(Value::as_str).unwrap_or("gelu");
    Activation::named(name).with_context(|| format!("`{key}`"))
}

/// Refuses a word table that is not as wide as the states, whose width `key` gives.
pub(crate) fn unprojected(config: &Value, key: &str) -> Result<()> {
    let width = numbers_or(config, "embedding_size", number(config, key)? as f64)?;
    if width != number(config, key)? as f64 {
        bail!(
            "`embedding_size` is {width}, `{key}` is {}; only electra projects a narrow word table",
            number(config, key)?
        );
    }
    Ok(())
}
