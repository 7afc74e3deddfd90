//! The folder of a whole run: the encoder that its tasks share, and a head for each.
//!
//! `config.json` and `model.safetensors` are the encoder, which `AutoModel` loads; `heads/<task>/` holds a head's
//! `config.json` and `model.safetensors`; `tasks.json` lists the tasks.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use mtl_backbone::checkpoint::NamedTensor;
use serde_json::{Map, Value, json};

use crate::config;
use crate::folder::Folder;
use crate::plain::PlainModel;
use crate::sentence;

/// The file that lists the tasks.
pub(crate) const TASKS: &str = "tasks.json";

/// Refuses two tasks that do not see one encoder.
pub(crate) fn refuse_others(first: &PlainModel, other: &PlainModel) -> Result<()> {
    if same(&first.encoder, &other.encoder) && first.config == other.config {
        return Ok(());
    }
    bail!(
        "the tasks `{}` and `{}` do not see the same encoder, so that there is none of the whole run; --each writes a folder \
         for each task, --task one of them",
        first.task,
        other.task
    )
}

/// Bit for bit.
fn same(a: &BTreeMap<String, NamedTensor>, b: &BTreeMap<String, NamedTensor>) -> bool {
    let bits = |tensor: &NamedTensor| tensor.data.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    a.len() == b.len() && a.iter().zip(b).all(|((x, a), (y, b))| x == y && a.shape == b.shape && bits(a) == bits(b))
}

/// Writes encoder, heads and list of `models`, which see one encoder.
pub(crate) fn write(models: &[PlainModel], folder: &Folder) -> Result<()> {
    let first = models.first().context("a run without tasks")?;
    folder.write_json("config.json", &sentence::of_encoder(first))?;
    folder.write_tensors("model.safetensors", first.encoder.iter().map(|(name, tensor)| (name.clone(), tensor)))?;
    // Where all texts are pooled alike, the folder is an encoder of sentences as well.
    let mut poolings = models.iter().filter_map(|model| model.head.pooling);
    if let Some(pooling) = poolings.next().filter(|pooling| poolings.all(|other| other == *pooling)) {
        sentence::modules(first, pooling, false, folder)?;
    }
    let mut listed = Vec::new();
    for model in models {
        let path = format!("heads/{}", model.task);
        let about = about(model);
        folder.write_json(&format!("{path}/config.json"), &about.clone().into())?;
        folder.write_tensors(&format!("{path}/model.safetensors"), tensors(model))?;
        let mut entry = Map::new();
        entry.insert("name".into(), model.task.as_str().into());
        entry.insert("folder".into(), path.into());
        entry.extend(about);
        listed.push(Value::Object(entry));
    }
    folder.write_json(TASKS, &json!({ "tasks": listed }))
}

/// What a head is, and what it reads and answers.
pub(crate) fn about(model: &PlainModel) -> Map<String, Value> {
    let mut keys = config::labels(model);
    let reads = match (model.head.pooling, model.pairs) {
        (None, _) => "tokens",
        (Some(_), Some(true)) => "pair",
        (Some(_), _) => "text",
    };
    keys.insert("kind".into(), model.spec.kind.as_str().into());
    keys.insert("reads".into(), reads.into());
    keys.insert("pooling".into(), json!(model.head.pooling));
    keys.insert("hidden".into(), model.head.hidden().into());
    keys.insert("activation".into(), model.head.activation.name().into());
    keys.insert("dropout".into(), model.head.dropout.into());
    keys.insert("max_tokens".into(), model.max_tokens.into());
    if let Some(masking) = &model.spec.masking {
        keys.insert("mask_token_id".into(), masking.mask.into());
        keys.insert("token_ids".into(), json!(masking.ids));
    }
    keys
}

/// A head's tensors: `dense.*` of a hidden layer, `output.*` of the last map.
fn tensors(model: &PlainModel) -> Vec<(String, &NamedTensor)> {
    let (maps, last) = (&model.head.maps, model.head.maps.len().saturating_sub(1));
    maps.iter().enumerate().flat_map(|(at, map)| map.named(if at == last { "output" } else { "dense" })).collect()
}
