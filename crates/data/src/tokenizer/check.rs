//! What a `tokenizer.json` must not say: each of these makes the library panic, or fail long after loading.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// A tokenizer that is larger than this is a mistake or an attack.
const MOST_IDS: u64 = 5_000_000;

pub(super) fn consistent(tokenizer: &Value) -> Result<()> {
    let model = &tokenizer["model"];
    let empty = Map::new();
    let vocabulary = model["vocab"].as_object().unwrap_or(&empty);
    for (token, id) in vocabulary {
        if id.as_u64().is_none_or(|id| id >= MOST_IDS) {
            bail!("model.vocab: `{token}` has the id {id}; a whole number below {MOST_IDS} was expected");
        }
    }
    for (index, token) in tokenizer["added_tokens"].as_array().into_iter().flatten().enumerate() {
        if token["id"].as_u64().is_none_or(|id| id >= MOST_IDS) {
            bail!("added_tokens[{index}].id is {}; a whole number below {MOST_IDS} was expected", token["id"]);
        }
    }
    merges(model, vocabulary)?;
    unknown(model, vocabulary)?;
    template(&tokenizer["post_processor"])
}

/// Each merge joins two tokens of the vocabulary to a third.
fn merges(model: &Value, vocabulary: &Map<String, Value>) -> Result<()> {
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
    for (index, merge) in model["merges"].as_array().into_iter().flatten().enumerate() {
        let parts: Vec<&str> = match merge {
            Value::String(pair) => pair.split(' ').collect(),
            other => other.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        };
        let [left, right] = parts[..] else { bail!("model.merges[{index}]: two tokens were expected, found {merge}") };
        let joined = format!("{left}{}", right.strip_prefix(prefix).unwrap_or(right));
        for token in [left, right, &joined] {
            if !vocabulary.contains_key(token) {
                bail!("model.merges[{index}]: `{token}` is not in the vocabulary");
            }
        }
    }
    Ok(())
}

/// Words that the vocabulary lacks become the unknown token, so that has to be there.
fn unknown(model: &Value, vocabulary: &Map<String, Value>) -> Result<()> {
    let kind = model["type"].as_str().unwrap_or_default();
    if let ("WordPiece" | "WordLevel", Some(token)) = (kind, model["unk_token"].as_str())
        && !vocabulary.contains_key(token)
    {
        bail!("model.unk_token: `{token}` is not in the vocabulary");
    }
    Ok(())
}

/// A template names special tokens that it defines.
fn template(processor: &Value) -> Result<()> {
    for key in ["single", "pair"] {
        for (index, piece) in processor[key].as_array().into_iter().flatten().enumerate() {
            let Some(name) = piece["SpecialToken"]["id"].as_str() else { continue };
            let defined = &processor["special_tokens"][name];
            if defined["ids"].as_array().is_none_or(Vec::is_empty) {
                bail!("post_processor.{key}[{index}]: the special token `{name}` is not defined in special_tokens");
            }
        }
    }
    for processor in processor["processors"].as_array().into_iter().flatten() {
        template(processor)?;
    }
    Ok(())
}
