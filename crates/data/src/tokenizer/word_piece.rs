//! A BERT tokenizer over a list of word pieces: what `vocab.txt` stands for.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The tokenizers whose `vocab.txt` is this; others have files of the same name that are something else.
pub(super) const CLASSES: &[&str] = &[
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRReaderTokenizer",
    "ConvBertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
    "RetriBertTokenizer",
    "LxmertTokenizer",
];

/// What the tokens are called that every BERT has.
pub(super) struct Names<'a> {
    pub(super) unknown: &'a str,
    pub(super) start: &'a str,
    pub(super) end: &'a str,
}

impl Default for Names<'_> {
    fn default() -> Self {
        Self { unknown: "[UNK]", start: "[CLS]", end: "[SEP]" }
    }
}

/// The `tokenizer.json` of `words`, their line being their id.
pub(super) fn json(words: &[&str], lowercase: bool, names: &Names) -> Result<Value> {
    let Names { unknown, start, end } = *names;
    let mut vocabulary = Map::new();
    for (id, word) in words.iter().enumerate() {
        if vocabulary.insert((*word).to_string(), json!(id)).is_some() {
            bail!("line {}: `{word}` stands in the vocabulary twice", id + 1);
        }
    }
    let id = |name: &str| vocabulary.get(name).cloned().with_context(|| format!("the vocabulary has no `{name}`"));
    let added = ["[PAD]", unknown, start, end, "[MASK]"]
        .into_iter()
        .filter_map(|name| vocabulary.get(name).map(|id| (name, id)))
        .map(|(name, id)| {
            json!({ "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        });
    let added: Vec<Value> = added.collect();
    id(unknown)?;
    let mut special = Map::new();
    for name in [start, end] {
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
            "single": [token(start, 0), text("A", 0), token(end, 0)],
            "pair": [token(start, 0), text("A", 0), token(end, 0), text("B", 1), token(end, 1)],
            "special_tokens": special
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": vocabulary }
    }))
}
