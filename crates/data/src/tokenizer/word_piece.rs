//! A BERT tokenizer over a list of word pieces: what `vocab.txt` stands for.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The `tokenizer.json` of `words`, their line being their id.
pub(super) fn json(words: &[&str], lowercase: bool) -> Result<Value> {
    let mut vocabulary = Map::new();
    for (id, word) in words.iter().enumerate() {
        if vocabulary.insert((*word).to_string(), json!(id)).is_some() {
            bail!("line {}: `{word}` stands in the vocabulary twice", id + 1);
        }
    }
    let id = |name: &str| vocabulary.get(name).cloned().with_context(|| format!("the vocabulary has no `{name}`"));
    let added = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .iter()
        .filter_map(|name| vocabulary.get(*name).map(|id| (name, id)))
        .map(|(name, id)| {
            json!({ "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        });
    let added: Vec<Value> = added.collect();
    id("[UNK]")?;
    let mut special = Map::new();
    for name in ["[CLS]", "[SEP]"] {
        special.insert(name.into(), json!({ "id": name, "ids": [id(name)?], "tokens": [name] }));
    }
    let token = |name: &str, segment: u32| json!({ "SpecialToken": { "id": name, "type_id": segment } });
    let text = |name: &str, segment: u32| json!({ "Sequence": { "id": name, "type_id": segment } });
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": lowercase },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)],
            "special_tokens": special
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocabulary }
    }))
}
