//! The files of a model's folder.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use mtl_backbone::checkpoint::{Checkpoint, read_safetensors};
use mtl_backbone::{Architecture, pretrained};
use mtl_task::Registry;
use serde_json::{Map, Value, json};

use super::rows::named;
use crate::scratch;

/// The bytes of values behind a header that is the input: tensors of the corpus' headers lie in them.
const DATA: [u8; 64] = [0; 64];

/// A safetensors file of `header` and `data`.
pub(super) fn framed(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

pub(super) fn safetensors(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("safetensors", "model.safetensors", bytes)?;
    of_file(&path)
}

pub(super) fn header(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("header", "model.safetensors", &framed(bytes, &DATA))?;
    of_file(&path)
}

/// Both readers of the format: of models, and of a run's own state.
fn of_file(path: &Path) -> Result<()> {
    let own = named(path, mtl_train::read_tensors(path).map(drop));
    let models = named(path, read_safetensors(path).map(drop));
    models.and(own)
}

/// The weights of a BERT of two layers of width 4, zero.
pub(super) static WEIGHTS: LazyLock<Vec<u8>> = LazyLock::new(|| weights(&[]));

/// The same with the head of a class for texts of two labels.
pub(super) fn fine_tuned() -> Vec<u8> {
    weights(&[("bert.pooler.dense", 4), ("classifier", 2)])
}

/// The encoder's, and maps from a state of these names and numbers of outputs.
fn weights(heads: &[(&str, usize)]) -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    for (name, rows) in [("word", 6), ("position", 8), ("token_type", 2)] {
        tensors.push((format!("embeddings.{name}_embeddings.weight"), vec![rows, 4]));
    }
    let mut both = |name: String, weight: Vec<usize>, bias: usize| {
        tensors.push((format!("{name}.weight"), weight));
        tensors.push((format!("{name}.bias"), vec![bias]));
    };
    both("embeddings.LayerNorm".into(), vec![4], 4);
    for layer in 0..2 {
        let prefix = format!("encoder.layer.{layer}");
        for part in ["query", "key", "value"] {
            both(format!("{prefix}.attention.self.{part}"), vec![4, 4], 4);
        }
        both(format!("{prefix}.attention.output.dense"), vec![4, 4], 4);
        both(format!("{prefix}.attention.output.LayerNorm"), vec![4], 4);
        both(format!("{prefix}.intermediate.dense"), vec![6, 4], 6);
        both(format!("{prefix}.output.dense"), vec![4, 6], 4);
        both(format!("{prefix}.output.LayerNorm"), vec![4], 4);
    }
    for (name, outputs) in heads {
        both(name.to_string(), vec![*outputs, 4], *outputs);
    }
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
    }
    framed(Value::Object(header).to_string().as_bytes(), &vec![0; end])
}

pub(super) fn config(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("config", "config.json", bytes)?;
    let folder = scratch::folder("config")?;
    let weights = folder.join("model.safetensors");
    if !weights.exists() {
        scratch::write(&weights, &WEIGHTS)?;
    }
    let checkpoint = named(&path, Checkpoint::read(&folder))?;
    pretrained(&Registry::<Architecture>::default(), &checkpoint).map(drop)
}

pub(super) fn shards(bytes: &[u8]) -> Result<()> {
    scratch::file("shards", "model.safetensors.index.json", bytes)?;
    let folder = scratch::folder("shards")?;
    for (file, tensor) in [("m-1.safetensors", "encoder.a"), ("m-2.safetensors", "encoder.b")] {
        let header = json!({ tensor: { "dtype": "F32", "shape": [2], "data_offsets": [0, 8] } });
        scratch::write(&folder.join(file), &framed(header.to_string().as_bytes(), &[0; 8]))?;
    }
    scratch::write(&folder.join("config.json"), b"{\"model_type\": \"bert\", \"hidden_size\": 4}")?;
    Checkpoint::read(&folder).map(drop)
}
