//! The files of a tokenizer, and texts read by what comes of them.

use std::path::PathBuf;

use anyhow::Result;
use mtl_data::{Texts, Tokenizer};

use crate::scratch;

/// Plain words, other scripts, controls, joined signs, and what stands for itself in some tokenizers.
const TEXTS: [&str; 4] = [
    "Hello playing world, a text of some words!",
    "한국어는 재미있다 e\u{301}\u{0}\u{200d}\u{fffd}\u{1f469}\u{200d}\u{1f52c}",
    "[CLS] <s> ##ing \u{2581}a Ġa </s> [MASK]<unk>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
];

const VOCABULARY: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nplay\n##ing\nHello\nhello\nworld\na\nb\n한국\n##어\n##는\n!\n,\nno\nyes\n";

/// A folder with a small `vocab.txt`.
pub(super) fn folder(target: &str) -> Result<PathBuf> {
    let path = scratch::file(target, "vocab.txt", VOCABULARY.as_bytes())?;
    Ok(path.parent().map(PathBuf::from).unwrap_or_default())
}

/// Reads the tokenizer of a target's folder, and texts by it.
fn read(target: &str) -> Result<()> {
    let tokenizer = Tokenizer::read(&scratch::folder(target)?)?;
    let [one, other, odd, long] = TEXTS.map(String::from);
    let words = one.split(' ').chain([other.as_str(), "", " "]).map(String::from).collect();
    for texts in [Texts::Pair(one, other), Texts::One(odd), Texts::One(long), Texts::One(String::new())]
        .into_iter()
        .chain([Texts::Tokens(words)])
    {
        // A text may be refused; an id beyond the vocabulary would be read from no row of the word table.
        if let Ok(encoded) = tokenizer.encode(&texts, 16) {
            assert!(!encoded.ids.is_empty() && encoded.ids.len() <= 16, "{} ids", encoded.ids.len());
            assert!(encoded.ids.iter().all(|id| (*id as usize) < tokenizer.vocabulary()), "{:?}", encoded.ids);
        }
    }
    let again = Tokenizer::from_json(&tokenizer.to_json()?).expect("a tokenizer as it is written");
    assert_eq!(again.vocabulary(), tokenizer.vocabulary());
    Ok(())
}

pub(super) fn file(bytes: &[u8]) -> Result<()> {
    scratch::file("tokenizer", "tokenizer.json", bytes)?;
    read("tokenizer")
}

pub(super) fn config(bytes: &[u8]) -> Result<()> {
    folder("tokenizer-config")?;
    scratch::file("tokenizer-config", "tokenizer_config.json", bytes)?;
    read("tokenizer-config")
}

pub(super) fn vocabulary(bytes: &[u8]) -> Result<()> {
    scratch::file("vocabulary", "vocab.txt", bytes)?;
    read("vocabulary")
}

pub(super) fn merges(bytes: &[u8]) -> Result<()> {
    let at = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (vocabulary, merges) = bytes.split_at(at);
    scratch::file("merges", "vocab.json", vocabulary)?;
    scratch::file("merges", "merges.txt", merges.get(2..).unwrap_or_default())?;
    read("merges")
}
