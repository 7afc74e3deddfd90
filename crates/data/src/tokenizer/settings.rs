//! What the files beside a vocabulary say of its tokenizer: `tokenizer_config.json`, and in folders of old versions
//! `special_tokens_map.json` and `added_tokens.json`.
//!
//! Each of their keys that changes tokens is done here, in the text of the `tokenizer.json` that the folder comes to,
//! or is refused by name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::added::{AddedTokens, name_of};
use super::files::members;
use super::member;

const CONFIG: &str = "tokenizer_config.json";
/// Tokens that each have a role of their own.
const ROLES: &[&str] = &["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Lists of further special tokens.
const LISTS: &[&str] = &["additional_special_tokens", "extra_special_tokens"];

/// Classes of which a `tokenizer.json` says everything, and a configuration nothing.
const GENERIC: &[&str] = &["PreTrainedTokenizer", "TokenizersBackend"];

/// What may be said about tokens that is not done here: a key, the value that changes nothing, and what another does.
const REFUSED: &[(&str, &str, &str)] = &[
    ("auto_map", "null", "names code of the repository, and no code of a repository is run here"),
    ("add_bos_token", "null", "changes the special tokens around a text; save the tokenizer again with its template"),
    ("add_eos_token", "null", "changes the special tokens around a text; save the tokenizer again with its template"),
    ("clean_text", "true", "keeps control characters"),
    ("do_basic_tokenize", "true", "splits words at white space alone, which no fast tokenizer does"),
    ("do_lowercase_and_remove_accent", "false", "is not done here"),
    ("do_subword_tokenize", "true", "is not done here"),
    ("do_word_tokenize", "true", "is not done here"),
    ("jumanpp_kwargs", "null", "asks for another splitter of words"),
    ("mecab_kwargs", "null", "asks for another splitter of words"),
    ("never_split", "[]", "keeps words whole, which no fast tokenizer does; make them added tokens"),
    ("normalization", "false", "is not done here"),
    ("split_special_tokens", "false", "reads special tokens in texts as plain text"),
    ("subword_tokenizer_type", "\"wordpiece\"", "asks for another splitter of words"),
    ("sudachi_kwargs", "null", "asks for another splitter of words"),
    ("truncation_side", "\"right\"", "would leave out the beginning of long texts; here their end is"),
    ("word_tokenizer_type", "\"basic\"", "asks for another splitter of words"),
    ("wordpieces_prefix", "\"##\"", "is another mark of a word's later pieces"),
];

/// The files' content.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    config: Map<String, Value>,
    /// Added tokens by id, with their flags.
    added: BTreeMap<u64, Value>,
}

impl Settings {
    /// Those in `folder`; each file may be missing.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut config = members(folder, CONFIG)?;
        let mut added = BTreeMap::new();
        // Files of today have it, and the two older files are not looked at then.
        if let Some(tokens) = config.get("added_tokens_decoder").filter(|tokens| !tokens.is_null()) {
            let place = || format!("{}: added_tokens_decoder", folder.join(CONFIG).display());
            let tokens = tokens.as_object().with_context(place)?;
            for (id, token) in tokens {
                let id = id.parse().with_context(|| format!("{}: `{id}` is no id", place()))?;
                added.insert(id, token.clone());
            }
        } else {
            for (key, token) in members(folder, "special_tokens_map.json")? {
                config.insert(key, token);
            }
            let special: Vec<String> = special_tokens(&config).into_iter().map(|(_, name)| name).collect();
            for (name, id) in members(folder, "added_tokens.json")? {
                let place = || format!("{}: `{name}`", folder.join("added_tokens.json").display());
                let id = id.as_u64().with_context(|| format!("{} has the id {id}", place()))?;
                let special = special.contains(&name);
                added.insert(id, json!({ "content": name, "special": special, "normalized": !special }));
            }
        }
        Ok(Self { config, added })
    }

    /// What the token of a role is called.
    pub(super) fn token(&self, role: &str) -> Option<&str> {
        self.config.get(role).and_then(name_of)
    }

    /// Refuses a vocabulary of the tokenizers `known` that says it is another's.
    pub(super) fn expect_class(&self, known: &[&str]) -> Result<()> {
        match self.class() {
            Some(class) if !known.contains(&class) && !GENERIC.contains(&class) => bail!(
                "{CONFIG}: `tokenizer_class` is {class}, whose vocabulary is not read without a tokenizer.json; in \
                 Python, `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(OUT)` writes one"
            ),
            _ => Ok(()),
        }
    }

    /// The stated class, without the suffix of those that are backed by the library.
    fn class(&self) -> Option<&str> {
        let class = self.config.get("tokenizer_class")?.as_str()?;
        Some(class.strip_suffix("Fast").unwrap_or(class))
    }

    /// Writes what the files say into `tokenizer`, the content of a `tokenizer.json`.
    pub(super) fn apply(&self, tokenizer: &mut Value) -> Result<()> {
        self.apply_all(tokenizer).context(CONFIG)
    }

    fn apply_all(&self, tokenizer: &mut Value) -> Result<()> {
        for (key, harmless, what) in REFUSED {
            let stated = self.config.get(*key).filter(|value| !is_empty(value));
            if let Some(value) = stated.map(Value::to_string).filter(|value| value != harmless) {
                bail!("`{key}` is {value}, which {what}; leave it out to have it {harmless}");
            }
        }
        let sampling = self.config.get("sp_model_kwargs").and_then(|settings| settings.get("enable_sampling"));
        if sampling.is_some_and(|sampling| *sampling != Value::Bool(false)) {
            bail!("`sp_model_kwargs.enable_sampling` draws another tokenisation each time; leave it out");
        }
        if !self.class().is_some_and(|class| GENERIC.contains(&class)) {
            self.letters(tokenizer)?;
            self.prefix(tokenizer)?;
        }
        let mut tokens = AddedTokens::of(tokenizer);
        for (id, token) in &self.added {
            tokens.add(*id, token).with_context(|| format!("the added token {id}"))?;
        }
        for (role, name) in special_tokens(&self.config) {
            let Some(id) = tokens.id(&name) else {
                if LISTS.contains(&role.as_str()) {
                    bail!(
                        "`{role}`: neither the vocabulary nor the added tokens hold `{name}`; in Python, \
                         `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(OUT)` gives it an id"
                    );
                }
                // A padding or masking token that the vocabulary lacks stands in no text.
                continue;
            };
            if !tokens.holds(&name) {
                tokens.add(id, &json!({ "content": name, "special": true }))?;
            }
        }
        tokens.put(tokenizer);
        self.unknown(tokenizer)
    }

    /// `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`: of BERT's normaliser, wherever it stands.
    fn letters(&self, tokenizer: &mut Value) -> Result<()> {
        let word_piece = member(&tokenizer["model"], "type") == "WordPiece";
        let switches = [
            ("do_lower_case", "lowercase", "Lowercase"),
            ("strip_accents", "strip_accents", "StripAccents"),
            ("tokenize_chinese_chars", "handle_chinese_chars", ""),
        ];
        for (key, field, step) in switches {
            let Some(value) = self.config.get(key) else { continue };
            // No accents setting means: as the letters are lowered. The others are on or off.
            if !(value.is_boolean() || value.is_null()) {
                bail!("`{key}` is {value}; true or false was expected");
            }
            if value.is_null() && key != "strip_accents" {
                continue;
            }
            if let Some(normalizer) = find(&mut tokenizer["normalizer"], &["BertNormalizer"]) {
                normalizer[field] = value.clone();
                continue;
            }
            let done = find(&mut tokenizer["normalizer"], &[step]).is_some();
            let wanted = match value.as_bool() {
                Some(wanted) if !step.is_empty() => wanted,
                // Other kinds of vocabulary know nothing of Chinese signs, and say so all the same.
                Some(true) if word_piece => true,
                _ => continue,
            };
            if wanted != done {
                bail!(
                    "`{key}` is {value}, but tokenizer.json has {} that could do so; make the two agree",
                    if wanted { "no normalizer" } else { "no BertNormalizer" }
                );
            }
        }
        Ok(())
    }

    /// `add_prefix_space`: whether the first word is read as one behind a space.
    fn prefix(&self, tokenizer: &mut Value) -> Result<()> {
        let Some(value) = self.config.get("add_prefix_space").filter(|value| !value.is_null()) else { return Ok(()) };
        let Some(wanted) = value.as_bool() else { bail!("`add_prefix_space` is {value}; true or false was expected") };
        match find(&mut tokenizer["pre_tokenizer"], &["ByteLevel", "Metaspace"]) {
            Some(step) if step["type"] == "ByteLevel" => step["add_prefix_space"] = wanted.into(),
            Some(step) => {
                if let Some(object) = step.as_object_mut() {
                    object.remove("add_prefix_space");
                    object.insert("prepend_scheme".into(), if wanted { "always" } else { "never" }.into());
                }
            }
            None if wanted => bail!("`add_prefix_space` is true, but tokenizer.json has no step that could add one"),
            None => {}
        }
        Ok(())
    }

    /// `unk_token`: what words become that the vocabulary lacks.
    fn unknown(&self, tokenizer: &mut Value) -> Result<()> {
        let Some(name) = self.token("unk_token").map(String::from) else { return Ok(()) };
        let model = &mut tokenizer["model"];
        match model["type"].as_str() {
            Some("WordPiece" | "WordLevel") => model["unk_token"] = name.into(),
            Some("Unigram") => {
                let stated =
                    model["unk_id"].as_u64().and_then(|id| model["vocab"].get(usize::try_from(id).ok()?)?.get(0));
                if let Some(stated) = stated.filter(|stated| **stated != Value::String(name.clone())) {
                    bail!("`unk_token` is `{name}`, but tokenizer.json's model has {stated}; make the two agree");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The stated special tokens, each with its key.
fn special_tokens(config: &Map<String, Value>) -> Vec<(String, String)> {
    let stated = |key: &&str| config.get(*key).map(|value| (key.to_string(), value.clone()));
    let roles = ROLES.iter().filter_map(stated).filter_map(|(key, token)| Some((key, name_of(&token)?.to_string())));
    let lists = LISTS.iter().filter_map(stated).flat_map(|(key, list)| {
        let tokens: Vec<Value> = match list {
            Value::Array(tokens) => tokens,
            // Newer files give them names.
            Value::Object(named) => named.into_iter().map(|(_, token)| token).collect(),
            _ => Vec::new(),
        };
        tokens.iter().filter_map(name_of).map(|name| (key.clone(), name.to_string())).collect::<Vec<_>>()
    });
    roles.chain(lists).collect()
}

/// Whether a value says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// The first step of one of `kinds` in a component, which may be a sequence of sequences.
fn find<'a>(component: &'a mut Value, kinds: &[&str]) -> Option<&'a mut Value> {
    if component["type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
        return Some(component);
    }
    for key in ["normalizers", "pretokenizers"] {
        if component[key].is_array() {
            return component[key].as_array_mut()?.iter_mut().find_map(|step| find(step, kinds));
        }
    }
    None
}
