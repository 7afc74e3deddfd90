//! The files of a tokenizer as transformers reads them.

use anyhow::{Context, Result};
use mtl_data::Tokenizer;
use serde_json::{Map, Value, json};

use crate::folder::Folder;
use crate::plain::PlainModel;

/// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.
pub(crate) fn write(tokenizer: &Tokenizer, model: &PlainModel, folder: &Folder) -> Result<()> {
    let special = special(tokenizer, model);
    let mut config = special.clone();
    let mut inputs = vec!["input_ids", "attention_mask"];
    if model.segments {
        inputs.insert(1, "token_type_ids");
    }
    let added = added(tokenizer)?;
    // Tokens that `added_tokens_decoder` lists are not looked for elsewhere.
    if !added.is_empty() {
        config.insert("added_tokens_decoder".into(), added.into());
    }
    config.insert("clean_up_tokenization_spaces".into(), false.into());
    config.insert("model_input_names".into(), json!(inputs));
    config.insert("model_max_length".into(), model.max_tokens.into());
    config.insert("padding_side".into(), "right".into());
    config.insert("truncation_side".into(), "right".into());
    config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
    folder.write("tokenizer.json", tokenizer.to_json()?.as_bytes())?;
    folder.write_json("tokenizer_config.json", &config.into())?;
    folder.write_json("special_tokens_map.json", &special.into())
}

/// The special tokens by their roles, as far as there are any.
fn special(tokenizer: &Tokenizer, model: &PlainModel) -> Map<String, Value> {
    let [before, after] = tokenizer.around_a_text();
    let padding = model.config.get("pad_token_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    let roles = [
        ("cls_token", before.last().copied()),
        ("sep_token", after.first().copied()),
        ("unk_token", Some(tokenizer.unknown())),
        ("pad_token", padding),
        ("mask_token", tokenizer.mask()),
    ];
    let named = roles.into_iter().filter_map(|(role, id)| Some((role.to_string(), tokenizer.token(id?)?.into())));
    named.collect()
}

/// The tokens that `tokenizer.json` has beside its vocabulary, by their ids.
fn added(tokenizer: &Tokenizer) -> Result<Map<String, Value>> {
    let file: Value = serde_json::from_str(&tokenizer.to_json()?).context("tokenizer.json")?;
    let tokens = file.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let by_id = tokens.filter_map(|token| {
        let mut token = token.as_object()?.clone();
        let id = token.remove("id")?;
        Some((id.to_string(), token.into()))
    });
    Ok(by_id.collect())
}
