//! The architectures, sorted by name, and how an encoder comes to its weights.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use candle_core::DType;
use mtl_task::rng::Key;
use serde_json::Value;

use crate::checkpoint::{Checkpoint, check_config, elsewhere};
use crate::claims;
use crate::family::{Activation, Names};
use crate::{Encoder, Family, Flat, Layout, Params, Part, Shape};
use crate::{bert, distilbert, electra, roberta};

/// One entry of the registry.
pub struct Architecture {
    /// The hub's `model_type`.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Other `model_type`s of the same network.
    pub aliases: &'static [&'static str],
    pub(crate) shape: fn(&Value) -> Result<Shape>,
    pub(crate) names: &'static Names,
}

/// Every architecture.
pub const ARCHITECTURES: &[Architecture] =
    &[bert::ARCHITECTURE, distilbert::ARCHITECTURE, electra::ARCHITECTURE, roberta::ARCHITECTURE];

/// An encoder and the weights it starts from.
#[derive(Clone)]
pub struct Pretrained {
    /// The architecture's name.
    pub architecture: String,
    /// The hub configuration it was built from.
    pub config: Value,
    /// The function.
    pub encoder: Family,
    /// Its weights, part by part.
    pub weights: BTreeMap<Part, Flat>,
}

/// The encoder that a checkpoint holds, of the architecture that its `config.json` names.
///
/// # Errors
/// As [`pretrained_as`], and if `config.json` names none.
pub fn pretrained(checkpoint: &Checkpoint) -> Result<Pretrained> {
    load(checkpoint, None)
}

/// The encoder that a checkpoint holds, said to be of the architecture `stated`.
///
/// # Errors
/// If `config.json` names another architecture, or the architecture is unknown; if a tensor is missing or of another
/// shape than the configuration says, or the files hold tensors of an encoder that nothing here computes.
pub fn pretrained_as(checkpoint: &Checkpoint, stated: &str) -> Result<Pretrained> {
    load(checkpoint, Some(stated))
}

fn load(checkpoint: &Checkpoint, stated: Option<&str>) -> Result<Pretrained> {
    let place = checkpoint.folder.display();
    let config_place = || format!("{place}/config.json");
    let name = claims::architecture(&checkpoint.config, stated).with_context(config_place)?;
    let encoder = build(&name, &checkpoint.config).with_context(config_place)?;
    let mut taken = BTreeSet::new();
    let weights = weights_of(&encoder, |entry_name, shape| {
        let Some(tensor) = checkpoint.tensors.get(entry_name) else {
            let elsewhere = match elsewhere(&checkpoint.unused, entry_name) {
                Some(other) => format!("; there is `{other}`: rename what stands in front, alike in all"),
                None => String::new(),
            };
            bail!("{place}: tensor `{entry_name}` is missing; config.json says the model has it{elsewhere}")
        };
        if tensor.shape != shape {
            bail!(
                "{place}: tensor `{entry_name}` has shape {:?}, but config.json makes it {shape:?}; \
                 the two files are of different models",
                tensor.shape
            )
        }
        taken.insert(entry_name.to_string());
        Ok(tensor.data.clone())
    })?;
    let left: Vec<&str> = checkpoint.tensors.keys().filter(|name| !taken.contains(*name)).map(String::as_str).collect();
    claims::nothing_left(&left, encoder.layers()).with_context(|| place.to_string())?;
    // Whoever reads the configuration later need not be told again.
    let mut config = checkpoint.config.clone();
    config["model_type"] = name.clone().into();
    Ok(Pretrained { architecture: name, config, encoder, weights })
}

/// An encoder of random weights as BERT draws them: N(0, `initializer_range`²), biases 0, LayerNorm scales 1.
///
/// # Errors
/// If the architecture is unknown or the configuration is not one of its.
pub fn random(architecture: &str, config: &Value, key: Key) -> Result<Pretrained> {
    let encoder = build(architecture, config)?;
    let deviation = numbers_or(config, "initializer_range", 0.02)?;
    let weights = weights_of(&encoder, |name, shape| {
        let count = shape.iter().product();
        let mut stream = key.named(name).stream();
        Ok(match shape.len() {
            1 if name.ends_with("weight") => vec![1.; count],
            1 => vec![0.; count],
            _ => (0..count).map(|_| (stream.normal() * deviation) as f32).collect(),
        })
    })?;
    Ok(Pretrained { architecture: architecture.to_string(), config: config.clone(), encoder, weights })
}

/// The architecture of a `model_type`.
pub(crate) fn find(name: &str) -> Result<&'static Architecture> {
    let is_called = |architecture: &&Architecture| architecture.name == name || architecture.aliases.contains(&name);
    ARCHITECTURES.iter().find(is_called).with_context(|| {
        let known: Vec<&str> = ARCHITECTURES.iter().map(|architecture| architecture.name).collect();
        format!("unknown architecture `{name}`; there are {}", known.join(", "))
    })
}

fn build(name: &str, config: &Value) -> Result<Family> {
    let architecture = find(name)?;
    check_config(config)?;
    let shape = (architecture.shape)(config)?;
    if shape.heads == 0 || !shape.hidden.is_multiple_of(shape.heads) {
        bail!("{} attention heads do not divide a hidden size of {}", shape.heads, shape.hidden);
    }
    Ok(Family::new(shape, architecture.names))
}

fn weights_of(
    encoder: &Family,
    mut tensor: impl FnMut(&str, &[usize]) -> Result<Vec<f32>>,
) -> Result<BTreeMap<Part, Flat>> {
    let mut weights = BTreeMap::new();
    for part in Part::all(encoder.layers()) {
        let layout: &Layout = encoder.layout(part);
        let mut flat = Vec::new();
        flat.try_reserve_exact(layout.len())
            .with_context(|| format!("no memory for the {} weights of `{part}`", layout.len()))?;
        for entry in layout.entries() {
            flat.extend(tensor(&entry.name, &entry.shape)?);
        }
        weights.insert(part, Flat::F32(flat));
    }
    Ok(weights)
}

impl Pretrained {
    /// The weights of `part` as `dtype`.
    ///
    /// # Panics
    /// If the encoder has no such part.
    pub fn weights(&self, part: Part, dtype: DType) -> Flat {
        match (&self.weights[&part], dtype) {
            (Flat::F32(values), DType::F64) => Flat::F64(values.iter().map(|&value| f64::from(value)).collect()),
            (flat, _) => flat.clone(),
        }
    }

    /// Puts the weights into `params` as parameters of `owner` (`shared`, `task.x`, `frozen`).
    ///
    /// # Errors
    /// If a name is taken.
    pub fn insert(&self, owner: &str, params: &mut Params) -> candle_core::Result<()> {
        for part in Part::all(self.encoder.layers()) {
            let weights = self.weights(part, params.dtype());
            params.insert(&format!("{owner}/{part}"), self.encoder.layout(part), &weights, true)?;
        }
        Ok(())
    }

    /// Number of weights in the whole encoder.
    pub fn count(&self) -> usize {
        self.weights.values().map(Flat::len).sum()
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
