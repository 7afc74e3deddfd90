//! The architectures, sorted by name, and how an encoder comes to its weights.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use candle_core::DType;
use mtl_task::rng::Key;
use mtl_task::{Member, Registry};
use serde_json::Value;

use crate::architecture::{Architecture, numbers_or};
use crate::checkpoint::{Checkpoint, check_config, elsewhere};
use crate::claims;
use crate::{Encoder, Family, Flat, Layout, Params, Part};
use crate::{bert, distilbert, electra, roberta};

const BUILT_IN: &[Architecture] =
    &[bert::ARCHITECTURE, distilbert::ARCHITECTURE, electra::ARCHITECTURE, roberta::ARCHITECTURE];

impl Member for Architecture {
    const KIND: &'static str = "architecture";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[&str] {
        self.aliases
    }
}

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

/// The encoder that a checkpoint holds, of the one of `architectures` that its `config.json` names.
///
/// # Errors
/// As [`pretrained_as`], and if `config.json` names none.
pub fn pretrained(architectures: &Registry<Architecture>, checkpoint: &Checkpoint) -> Result<Pretrained> {
    load(architectures, checkpoint, None)
}

/// The encoder that a checkpoint holds, said to be of the architecture `stated`.
///
/// # Errors
/// If `config.json` names another architecture, or the architecture is unknown; if a tensor is missing or of another
/// shape than the configuration says, or the files hold tensors of an encoder that nothing here computes.
pub fn pretrained_as(
    architectures: &Registry<Architecture>,
    checkpoint: &Checkpoint,
    stated: &str,
) -> Result<Pretrained> {
    load(architectures, checkpoint, Some(stated))
}

fn load(architectures: &Registry<Architecture>, checkpoint: &Checkpoint, stated: Option<&str>) -> Result<Pretrained> {
    let place = checkpoint.folder.display();
    let config_place = || format!("{place}/config.json");
    let name = claims::architecture(architectures, &checkpoint.config, stated).with_context(config_place)?;
    let encoder = build(architectures, &name, &checkpoint.config).with_context(config_place)?;
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

/// An encoder of random weights, by one of `architectures`, as BERT draws them: N(0, `initializer_range`²), biases 0,
/// LayerNorm scales 1.
///
/// # Errors
/// If the architecture is unknown or the configuration is not one of its.
pub fn random(
    architectures: &Registry<Architecture>,
    architecture: &str,
    config: &Value,
    key: Key,
) -> Result<Pretrained> {
    let encoder = build(architectures, architecture, config)?;
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

fn build(architectures: &Registry<Architecture>, name: &str, config: &Value) -> Result<Family> {
    let architecture = architectures.find(name)?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_architecture_of_ones_own_is_built_with_its_shape_and_names() -> Result<()> {
        fn shape(config: &Value) -> Result<crate::Shape> {
            Ok(crate::Shape { types: 0, ..bert::sizes(config)? })
        }
        const NAMES: crate::Names = crate::Names { layer: "blocks.{}.", ..bert::NAMES };
        let mine = Architecture { name: "mine", aliases: &["ours"], about: "", shape, names: &NAMES, classes: None };
        let config = json!({
            "vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 8,
        });
        let architectures = Registry::default().with(mine)?;
        let model = random(&architectures, "ours", &config, Key::new(1))?;
        assert_eq!(model.architecture, "ours");
        let names: Vec<&str> =
            model.encoder.layout(Part::Layer(1)).entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names[0], "blocks.1.attention.self.query.weight");
        assert_eq!(model.encoder.shape().types, 0);
        let error = random(&architectures, "mien", &config, Key::new(1)).err().expect("unknown").to_string();
        assert!(error.contains("unknown architecture `mien` (did you mean `mine`?)"), "{error}");
        assert!(architectures.find("xlm-roberta").is_ok_and(|known| known.name == "roberta"));
        Ok(())
    }
}
