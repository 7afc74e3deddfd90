//! The layout of sentence-transformers: an encoder, pooling, and a head as maps over the pooled vector.
//!
//! Reimers & Gurevych, "Sentence-BERT" (2019). `encode` then gives logits, one vector for each text.

use anyhow::{Result, bail};
use mtl_backbone::{HeadActivation, Pooling};
use serde_json::{Value, json};

use crate::config;
use crate::folder::Folder;
use crate::plain::PlainModel;

/// How the text of `model` becomes one vector.
///
/// # Errors
/// If its head reads tokens.
pub(crate) fn pooling(model: &PlainModel) -> Result<Pooling> {
    let Some(pooling) = model.head.pooling else {
        bail!("it answers every token, and sentence-transformers one vector for each text; export for transformers")
    };
    Ok(pooling)
}

/// Writes everything but the tokenizer; `head` says whether the head's maps follow the pooled vector.
pub(crate) fn write(model: &PlainModel, head: bool, folder: &Folder) -> Result<()> {
    let pooling = pooling(model)?;
    let class = format!("{}Model", model.stem);
    folder.write_json("config.json", &if head { config::of_class(model, &class) } else { of_encoder(model) })?;
    folder.write_tensors("model.safetensors", model.encoder.iter().map(|(name, tensor)| (name.clone(), tensor)))?;
    modules(model, pooling, head, folder)
}

/// The configuration of the encoder alone.
pub(crate) fn of_encoder(model: &PlainModel) -> Value {
    let mut keys = model.config.as_object().cloned().unwrap_or_default();
    keys.insert("architectures".into(), json!([format!("{}Model", model.stem)]));
    Value::Object(keys)
}

/// Writes what sentence-transformers reads beside the encoder.
pub(crate) fn modules(model: &PlainModel, pooling: Pooling, head: bool, folder: &Folder) -> Result<()> {
    let module = |at: usize, path: &str, class: &str| json!({ "idx": at, "name": at.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}") });
    let mut modules = vec![module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")];
    folder.write_json(
        "1_Pooling/config.json",
        &json!({
            "word_embedding_dimension": model.hidden,
            "pooling_mode_cls_token": pooling == Pooling::Cls,
            "pooling_mode_mean_tokens": pooling == Pooling::Mean,
            "pooling_mode_max_tokens": pooling == Pooling::Max,
            "pooling_mode_mean_sqrt_len_tokens": false,
            "pooling_mode_weightedmean_tokens": false,
            "pooling_mode_lasttoken": false,
            "include_prompt": true,
        }),
    )?;
    let maps = if head { model.head.maps.as_slice() } else { &[] };
    for (at, map) in maps.iter().enumerate() {
        let (index, last) = (at + 2, at + 1 == maps.len());
        let path = format!("{index}_Dense");
        modules.push(module(index, &path, "Dense"));
        folder.write_json(
            &format!("{path}/config.json"),
            &json!({
                "in_features": map.inputs(),
                "out_features": map.outputs(),
                "bias": true,
                "activation_function": if last { IDENTITY } else { of_torch(model.head.activation) },
            }),
        )?;
        folder.write_tensors(&format!("{path}/model.safetensors"), map.named("linear"))?;
    }
    folder.write_json("modules.json", &modules.into())?;
    folder.write_json(
        "sentence_bert_config.json",
        &json!({ "max_seq_length": model.max_tokens, "do_lower_case": false }),
    )?;
    folder.write_json(
        "config_sentence_transformers.json",
        &json!({ "prompts": {}, "default_prompt_name": null, "similarity_fn_name": "cosine" }),
    )
}

/// No activation, by its class in PyTorch.
pub(crate) const IDENTITY: &str = "torch.nn.modules.linear.Identity";

/// The class of an activation in PyTorch.
pub(crate) fn of_torch(activation: HeadActivation) -> &'static str {
    match activation {
        HeadActivation::Tanh => "torch.nn.modules.activation.Tanh",
        HeadActivation::Relu => "torch.nn.modules.activation.ReLU",
        HeadActivation::Gelu => "torch.nn.modules.activation.GELU",
    }
}
