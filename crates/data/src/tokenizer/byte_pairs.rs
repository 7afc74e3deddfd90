//! A byte-level BPE tokenizer over a vocabulary and its merges: what `vocab.json` and `merges.txt` of a RoBERTa stand
//! for (Radford et al. 2019, Liu et al. 2019).

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The tokenizers whose two files these are.
pub(super) const CLASSES: &[&str] = &["RobertaTokenizer", "LongformerTokenizer"];

/// The tokens around a text.
pub(super) struct Names<'a> {
    pub(super) start: &'a str,
    pub(super) end: &'a str,
}

/// The `tokenizer.json` of `vocabulary`, which gives each token its id, and the lines of `merges`.
pub(super) fn json(vocabulary: &Value, merges: &str, names: &Names) -> Result<Value> {
    let id = |name: &str| {
        let id = vocabulary.get(name).with_context(|| format!("the vocabulary has no `{name}`"))?;
        id.as_u64().with_context(|| format!("`{name}` has the id {id}; a whole number was expected"))
    };
    let mut pairs = Vec::new();
    for (index, line) in merges.lines().enumerate() {
        if line.starts_with("#version") || line.trim().is_empty() {
            continue;
        }
        let Some((left, right)) = line.split_once(' ').filter(|(_, right)| !right.contains(' ')) else {
            bail!("merges.txt, line {}: two tokens with a space between them were expected, found {line:?}", index + 1)
        };
        pairs.push(json!([left, right]));
    }
    let added: Vec<Value> = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        .iter()
        .filter_map(|name| vocabulary.get(name).map(|id| (name, id)))
        .map(|(name, id)| {
            json!({ "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": {
            "type": "RobertaProcessing", "sep": [names.end, id(names.end)?], "cls": [names.start, id(names.start)?],
            "trim_offsets": true, "add_prefix_space": false
        },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                   "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                   "vocab": vocabulary, "merges": pairs }
    }))
}
