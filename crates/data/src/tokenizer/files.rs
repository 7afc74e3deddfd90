//! Which files of a model's folder make its tokenizer.
//!
//! A `tokenizer.json` says all, unless `tokenizer_config.json` says otherwise; a `vocab.txt` (WordPiece) or a
//! `vocab.json` with its `merges.txt` (byte-level BPE) say the vocabulary alone, and the rest is in the files beside.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::settings::Settings;
use super::{byte_pairs, word_piece};

/// What a folder holds.
pub(super) struct Found {
    /// The content of its `tokenizer.json`, or of the one that its files stand for.
    pub(super) file: Value,
    /// The file that the vocabulary is in.
    pub(super) path: PathBuf,
    /// What is said to stand in front of a text and behind it: the keys and the tokens.
    pub(super) ends: [(&'static str, Option<String>); 2],
}

/// The tokenizer that the files of `folder` come to.
pub(super) fn read(folder: &Path) -> Result<Found> {
    let settings = Settings::read(folder)?;
    let ends = ["cls_token", "sep_token"].map(|role| (role, settings.token(role).map(String::from)));
    let (file, path) = of(folder, &settings)?;
    Ok(Found { file, path, ends })
}

fn of(folder: &Path, settings: &Settings) -> Result<(Value, PathBuf)> {
    let there = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    if let Some(path) = there("tokenizer.json") {
        let mut file = json(&path)?;
        // What cannot be one is refused under its own name, before the settings look into it.
        super::check::consistent(&file).with_context(|| path.display().to_string())?;
        settings.apply(&mut file).with_context(|| path.display().to_string())?;
        return Ok((file, path));
    }
    let (mut file, path) = if let Some(path) = there("vocab.txt") {
        settings.expect_class(word_piece::CLASSES).with_context(|| path.display().to_string())?;
        let vocabulary = text(&path)?;
        let words: Vec<&str> = vocabulary.lines().collect();
        let names = word_piece::Names {
            unknown: settings.token("unk_token").unwrap_or("[UNK]"),
            start: settings.token("cls_token").unwrap_or("[CLS]"),
            end: settings.token("sep_token").unwrap_or("[SEP]"),
        };
        // Left out, letters are lowered: so the authors' own code has it.
        (word_piece::json(&words, true, &names).with_context(|| path.display().to_string())?, path)
    } else if let (Some(path), Some(merges)) = (there("vocab.json"), there("merges.txt")) {
        settings.expect_class(byte_pairs::CLASSES).with_context(|| path.display().to_string())?;
        let names = byte_pairs::Names {
            start: settings.token("cls_token").unwrap_or("<s>"),
            end: settings.token("sep_token").unwrap_or("</s>"),
        };
        let file = byte_pairs::json(&json(&path)?, &text(&merges)?, &names);
        (file.with_context(|| path.display().to_string())?, path)
    } else {
        return Err(nothing(folder));
    };
    settings.apply(&mut file).with_context(|| path.display().to_string())?;
    Ok((file, path))
}

/// Says which other vocabulary there is, if any.
fn nothing(folder: &Path) -> anyhow::Error {
    for name in ["sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "bpe.codes"] {
        if folder.join(name).exists() {
            return anyhow!(
                "{}: {name}, and no tokenizer.json beside it, which alone is read; in Python, \
                 `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(OUT)` writes one",
                folder.display()
            );
        }
    }
    anyhow!(
        "{}: neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt; fetch the model again",
        folder.display()
    )
}

/// The text of the file at `path`.
pub(super) fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {} as text", path.display()))
}

/// The JSON object in the file at `path`.
pub(super) fn json(path: &Path) -> Result<Value> {
    let value: Value = serde_json::from_str(&text(path)?).with_context(|| format!("{}: no JSON", path.display()))?;
    if !value.is_object() {
        bail!("{}: a JSON object was expected", path.display());
    }
    Ok(value)
}

/// The members of the JSON object in the file called `name` in `folder`; none if there is no such file.
pub(super) fn members(folder: &Path, name: &str) -> Result<Map<String, Value>> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(Map::new());
    }
    let Value::Object(members) = json(&path)? else { unreachable!("checked to be an object") };
    Ok(members)
}
