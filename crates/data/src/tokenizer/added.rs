//! The added tokens of a `tokenizer.json`, looked up by name: a configuration may add thousands.

use std::collections::HashMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::member;

/// What a token is called that is stated by its name or with its flags.
pub(super) fn name_of(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str()).filter(|name| !name.is_empty())
}

/// The added tokens, and the ids of the vocabulary.
pub(super) struct AddedTokens {
    /// In their order; none where another has taken a token's place.
    listed: Vec<Option<Value>>,
    /// Where those of a name stand, the first of them first.
    places: HashMap<String, Vec<usize>>,
    vocabulary: HashMap<String, u64>,
    changed: bool,
}

impl AddedTokens {
    /// Those of `tokenizer`, the content of a `tokenizer.json`.
    pub(super) fn of(tokenizer: &Value) -> Self {
        let vocabulary = match member(&tokenizer["model"], "vocab") {
            Value::Array(pieces) => {
                let pieces = pieces.iter().enumerate();
                // The first of a name counts.
                let pieces = pieces.rev().filter_map(|(id, piece)| Some((piece.get(0)?.as_str()?, id as u64)));
                pieces.map(|(name, id)| (name.to_string(), id)).collect()
            }
            Value::Object(ids) => ids.iter().filter_map(|(name, id)| Some((name.clone(), id.as_u64()?))).collect(),
            _ => HashMap::new(),
        };
        let mut found = Self { listed: Vec::new(), places: HashMap::new(), vocabulary, changed: false };
        let listed = member(tokenizer, "added_tokens").as_array().into_iter().flatten();
        listed.for_each(|token| found.push(token.clone()));
        found
    }

    fn push(&mut self, token: Value) {
        if let Some(name) = member(&token, "content").as_str() {
            self.places.entry(name.to_string()).or_default().push(self.listed.len());
        }
        self.listed.push(Some(token));
    }

    /// Whether one of them is called `name`.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The id of the token called `name`, among them or in the vocabulary.
    pub(super) fn id(&self, name: &str) -> Option<u64> {
        let place = self.places.get(name).and_then(|places| places.first());
        let added = place.and_then(|place| self.listed.get(*place)?.as_ref());
        added.and_then(|token| token["id"].as_u64()).or_else(|| self.vocabulary.get(name).copied())
    }

    /// Puts `token` among them, in the place of one of the same name if there is one.
    ///
    /// # Errors
    /// If it has no name, or the vocabulary gives that name another id.
    pub(super) fn add(&mut self, id: u64, token: &Value) -> Result<()> {
        let Some(name) = name_of(token) else { bail!("it has no `content`: {token}") };
        if let Some(other) = self.id(name).filter(|other| *other != id) {
            bail!("`{name}` has the id {other} in the vocabulary; the files are of different models");
        }
        let flag = |key: &str, default: bool| token[key].as_bool().unwrap_or(default);
        let special = flag("special", false);
        let made = json!({
            "id": id, "content": name, "single_word": flag("single_word", false), "lstrip": flag("lstrip", false),
            "rstrip": flag("rstrip", false), "normalized": flag("normalized", !special), "special": special
        });
        for place in self.places.remove(name).into_iter().flatten() {
            if let Some(token) = self.listed.get_mut(place) {
                *token = None;
            }
        }
        self.push(made);
        self.changed = true;
        Ok(())
    }

    /// Writes them into `tokenizer`, by their ids, if any has been added.
    pub(super) fn put(self, tokenizer: &mut Value) {
        if self.changed {
            let mut tokens: Vec<Value> = self.listed.into_iter().flatten().collect();
            tokens.sort_by_key(|token| token["id"].as_u64());
            if let Some(fields) = tokenizer.as_object_mut() {
                fields.insert("added_tokens".into(), tokens.into());
            }
        }
    }
}
