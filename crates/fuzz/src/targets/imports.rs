//! Folders of fine-tuned models, which `import` reads.

use std::path::Path;

use anyhow::Result;
use mtl_backbone::Architecture;
use mtl_export::Import;
use mtl_task::Registry;

use super::checkpoints::{WEIGHTS, framed};
use super::rows::named;
use crate::scratch;

/// The configuration of the encoder that [`WEIGHTS`] are of.
const CONFIG: &[u8] = br#"{"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 6, "hidden_size": 4,
"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 6, "max_position_embeddings": 8,
"id2label": {"0": "a", "1": "b"}}"#;
const POOLING: &[u8] = br#"{"pooling_mode_mean_tokens": true}"#;
const DENSE: &[u8] = br#"{"in_features": 4, "out_features": 2,
"activation_function": "torch.nn.modules.linear.Identity"}"#;

/// A map from four values to two.
fn map() -> Vec<u8> {
    let header = br#"{"linear.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
"linear.bias": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]}}"#;
    framed(header, &[0; 40])
}

fn read(folder: &Path, path: &Path) -> Result<()> {
    named(path, Import::read(&Registry::<Architecture>::default(), folder).map(drop))
}

/// The list of modules beside an encoder, pooling and a map.
pub(super) fn modules(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("modules", "modules.json", bytes)?;
    let folder = scratch::folder("modules")?;
    if !folder.join("2_Dense").exists() {
        for name in ["1_Pooling", "2_Dense"] {
            scratch::folder(&format!("modules/{name}"))?;
        }
        for (name, content) in [
            ("config.json", CONFIG),
            ("model.safetensors", &WEIGHTS),
            ("1_Pooling/config.json", POOLING),
            ("2_Dense/config.json", DENSE),
            ("2_Dense/model.safetensors", &map()),
        ] {
            scratch::write(&folder.join(name), content)?;
        }
    }
    read(&folder, &path)
}

/// A configuration that names a class, its labels and what they mean.
pub(super) fn config(bytes: &[u8]) -> Result<()> {
    let path = scratch::file("fine-tuned", "config.json", bytes)?;
    let folder = scratch::folder("fine-tuned")?;
    let weights = folder.join("model.safetensors");
    if !weights.exists() {
        scratch::write(&weights, &super::checkpoints::fine_tuned())?;
    }
    read(&folder, &path)
}
