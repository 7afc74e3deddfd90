//! `config.json` as transformers reads it.

use anyhow::{Context, Result};
use mtl_backbone::{Classes, Shape};
use serde_json::{Map, Value, json};

use crate::answers::Problem;
use crate::plain::PlainModel;

/// Keys of a configuration that tell of the model that a run began from, not of what it became.
const STALE: &[&str] = &[
    "_name_or_path",
    "_num_labels",
    "adapters",
    "architectures",
    "auto_map",
    "dtype",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "quantization_config",
    "task_specific_params",
    "torch_dtype",
    "transformers_version",
];

/// The configuration of an encoder of `layers` layers, what it leaves to defaults here written out.
pub(crate) fn encoder(own: &Value, model_type: &str, classes: &Classes, shape: &Shape, layers: usize) -> Result<Value> {
    let mut keys = own.as_object().context("the encoder's configuration is not an object")?.clone();
    STALE.iter().for_each(|key| drop(keys.remove(*key)));
    for (key, value) in (classes.stated)(shape) {
        keys.entry(key).or_insert(value);
    }
    keys.entry("pad_token_id").or_insert(json!(0));
    keys.insert(classes.layers.into(), layers.into());
    keys.insert("model_type".into(), model_type.into());
    keys.insert("dtype".into(), "float32".into());
    keys.insert("torch_dtype".into(), "float32".into());
    Ok(Value::Object(keys))
}

/// The configuration of the class `architecture` that holds `model`.
pub(crate) fn of_class(model: &PlainModel, architecture: &str) -> Value {
    let mut keys = model.config.as_object().cloned().unwrap_or_default();
    keys.insert("architectures".into(), json!([architecture]));
    keys.insert(model.classes.dropout.into(), model.head.dropout.into());
    keys.extend(labels(model));
    Value::Object(keys)
}

/// What the outputs are called, and what they mean.
pub(crate) fn labels(model: &PlainModel) -> Map<String, Value> {
    let names = model.outputs();
    let by_number: Map<String, Value> =
        names.iter().enumerate().map(|(at, name)| (at.to_string(), name.as_str().into())).collect();
    let by_name: Map<String, Value> = names.iter().enumerate().map(|(at, name)| (name.clone(), at.into())).collect();
    let mut keys = Map::new();
    keys.insert("id2label".into(), by_number.into());
    keys.insert("label2id".into(), by_name.into());
    if let Some(problem) = Problem::name(model.problem) {
        keys.insert("problem_type".into(), problem.into());
    }
    keys
}
