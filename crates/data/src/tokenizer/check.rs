//! What a `tokenizer.json` must not say: each of these makes the library panic, fail long after loading, or read texts
//! otherwise than the file says.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::member;

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
    known_keys(tokenizer)?;
    merges(model, vocabulary)?;
    unknown(model, vocabulary)?;
    template(&tokenizer["post_processor"])
}

/// What a `tokenizer.json` is made of; `truncation` and `padding` are done elsewhere.
const PARTS: &[&str] = &[
    "version",
    "truncation",
    "padding",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "post_processor",
    "decoder",
    "model",
];

/// Models, and steps in front of them and behind: the keys of each kind.
const KINDS: &[(&str, &str)] = &[
    (
        "BPE",
        "vocab merges dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk byte_fallback ignore_merges",
    ),
    ("Unigram", "vocab unk_id byte_fallback alpha nbest_size"),
    ("WordLevel", "vocab unk_token"),
    ("WordPiece", "vocab unk_token continuing_subword_prefix max_input_chars_per_word"),
    ("BertNormalizer", "clean_text handle_chinese_chars strip_accents lowercase"),
    ("Lowercase", ""),
    ("NFC", ""),
    ("NFD", ""),
    ("NFKC", ""),
    ("NFKD", ""),
    ("Nmt", ""),
    ("Precompiled", "precompiled_charsmap"),
    ("Prepend", "prepend"),
    ("Replace", "pattern content"),
    ("Strip", "strip_left strip_right"),
    ("StripAccents", ""),
    ("BertPreTokenizer", ""),
    ("ByteLevel", "add_prefix_space trim_offsets use_regex"),
    ("CharDelimiterSplit", "delimiter"),
    ("Digits", "individual_digits"),
    ("FixedLength", "length"),
    // The last two are old spellings, which the library translates.
    ("Metaspace", "replacement prepend_scheme split add_prefix_space str_rep"),
    ("Punctuation", "behavior"),
    ("Split", "pattern behavior invert"),
    ("UnicodeScripts", ""),
    ("Whitespace", ""),
    ("WhitespaceSplit", ""),
    ("BertProcessing", "sep cls"),
    ("RobertaProcessing", "sep cls trim_offsets add_prefix_space"),
    ("TemplateProcessing", "single pair special_tokens"),
    ("Sequence", "normalizers pretokenizers processors"),
];

/// Drops padding and truncation, which are done here, and what would draw another reading of a text each time.
pub(super) fn settle(tokenizer: &mut Value) -> Result<()> {
    if member(&tokenizer["truncation"], "direction") == "Left" {
        bail!("truncation.direction is \"Left\", which would leave out the beginning of long texts; here their end is");
    }
    tokenizer["padding"] = Value::Null;
    tokenizer["truncation"] = Value::Null;
    if let Some(model) = tokenizer["model"].as_object_mut() {
        for key in ["dropout", "alpha", "nbest_size"] {
            if let Some(value) = model.get_mut(key) {
                *value = Value::Null;
            }
        }
    }
    Ok(())
}

/// Refuses keys that the library would leap over: they could change what a text is read as.
fn known_keys(tokenizer: &Value) -> Result<()> {
    for (key, value) in tokenizer.as_object().into_iter().flatten() {
        if !PARTS.contains(&key.as_str()) && !value.is_null() {
            bail!("`{key}` is no part of a tokenizer.json that is known here; it could change what texts are read as");
        }
    }
    ["model", "normalizer", "pre_tokenizer", "post_processor"]
        .iter()
        .try_for_each(|part| known_keys_of(part, &tokenizer[*part]))
}

fn known_keys_of(place: &str, component: &Value) -> Result<()> {
    let kind = component["type"].as_str().unwrap_or_default();
    // What is of no kind known here, the library decides on.
    let Some((_, keys)) = KINDS.iter().find(|(known, _)| *known == kind) else { return Ok(()) };
    for (key, value) in component.as_object().into_iter().flatten() {
        if key != "type" && !value.is_null() && !keys.split(' ').any(|known| known == key) {
            bail!("{place}.{key}: no setting of `{kind}` that is known here; it could change what texts are read as");
        }
    }
    for steps in ["normalizers", "pretokenizers", "processors"] {
        for (index, step) in component[steps].as_array().into_iter().flatten().enumerate() {
            known_keys_of(&format!("{place}.{steps}[{index}]"), step)?;
        }
    }
    Ok(())
}

/// Refuses added tokens to which the library gives another id than the file.
pub(super) fn given_ids(tokenizer: &Value, inner: &tokenizers::Tokenizer) -> Result<()> {
    for (index, token) in tokenizer["added_tokens"].as_array().into_iter().flatten().enumerate() {
        let Some(name) = token["content"].as_str().filter(|name| !name.is_empty()) else { continue };
        let given = inner.token_to_id(name).map(u64::from);
        if given != token["id"].as_u64() {
            let given = given.map_or("none".to_string(), |id| id.to_string());
            let stated = &token["id"];
            bail!("added_tokens[{index}]: `{name}` is to have the id {stated}, but the vocabulary gives it {given}");
        }
    }
    Ok(())
}

/// The id of what words become that the vocabulary lacks.
pub(super) fn unknown_id(model: &Value, inner: &tokenizers::Tokenizer) -> u32 {
    let stated = model["unk_token"].as_str().and_then(|name| inner.token_to_id(name));
    let stated = stated.or_else(|| model["unk_id"].as_u64().and_then(|id| u32::try_from(id).ok()));
    stated.or_else(|| ["[UNK]", "<unk>"].iter().find_map(|name| inner.token_to_id(name))).unwrap_or(0)
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
            let Some(name) = member(&piece["SpecialToken"], "id").as_str() else { continue };
            let defined = member(&processor["special_tokens"], name);
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
