//! The tokenizer against the fast tokenizers of transformers, on odd texts, pairs and lists of words.
//!
//! `fixtures/tokenizers/make.py` made the vocabularies and the expected ids.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mtl_data::{Texts, Tokenizer};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every form of a tokenizer's files.
const FORMS: &[&str] = &[
    "bert-accents",
    "bert-added",
    "bert-cased",
    "bert-decoder",
    "bert-file",
    "bert-renamed",
    "bert-unmarked",
    "bert-vocabulary",
    "bert-whole-signs",
    "camembert",
    "distilbert",
    "electra",
    "roberta-file",
    "roberta-pairs",
    "roberta-space",
    "xlm-roberta",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a fixture")).expect("JSON")
}

fn list<T: DeserializeOwned>(value: &Value) -> Vec<T> {
    serde_json::from_value(value.clone()).expect("a list")
}

/// Calls `test` with each form's name, its tokenizer and what is expected of it.
fn everywhere(test: impl Fn(&str, &Tokenizer, &Value)) {
    for form in FORMS {
        let folder = fixtures().join(form);
        let tokenizer = Tokenizer::read(&folder).expect(form);
        test(form, &tokenizer, &json(&folder.join("expected.json")));
    }
}

#[test]
fn every_fixture_is_read() {
    let folders = std::fs::read_dir(fixtures()).expect("fixtures").map(|entry| entry.expect("an entry").path());
    let found: BTreeSet<String> = folders
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("__"))
        .collect();
    assert_eq!(found, FORMS.iter().map(|form| form.to_string()).collect());
}

#[test]
fn texts_come_to_the_ids_of_transformers() {
    let texts: Vec<String> = list(&json(&fixtures().join("texts.json"))["texts"]);
    assert!(texts.len() >= 200);
    everywhere(|form, tokenizer, expected| {
        let expected: Vec<Vec<u32>> = list(&expected["texts"]);
        for (text, expected) in texts.iter().zip(&expected) {
            // Nothing is no input: it is refused where transformers gives an empty list.
            let found = tokenizer.encode(&Texts::One(text.clone()), 4096).map(|found| found.ids).unwrap_or_default();
            assert_eq!(found, *expected, "{form}: {text:?}");
        }
    });
}

#[test]
fn pairs_come_to_the_ids_and_segments_of_transformers() {
    let pairs: Vec<[String; 2]> = list(&json(&fixtures().join("texts.json"))["pairs"]);
    everywhere(|form, tokenizer, expected| {
        for ([a, b], expected) in pairs.iter().zip(expected["pairs"].as_array().expect("a list")) {
            let found = tokenizer.encode(&Texts::Pair(a.clone(), b.clone()), 4096).expect(form);
            assert_eq!(found.ids, list::<u32>(&expected["ids"]), "{form}: {a:?}, {b:?}");
            assert_eq!(found.segments, list::<u32>(&expected["segments"]), "{form}: {a:?}, {b:?}");
        }
    });
}

#[test]
fn words_come_to_the_pieces_of_transformers() {
    let sentences: Vec<Vec<String>> = list(&json(&fixtures().join("texts.json"))["words"]);
    everywhere(|form, tokenizer, expected| {
        let expected: Vec<Vec<Vec<u32>>> = list(&expected["words"]);
        for (words, expected) in sentences.iter().zip(&expected) {
            let found = tokenizer.encode(&Texts::Tokens(words.clone()), 4096).expect(form);
            let mut anchors: Vec<usize> = found.anchors.iter().map(|&anchor| anchor as usize).collect();
            assert_eq!(anchors.len(), words.len(), "{form}: {words:?}");
            let special = tokenizer.encode(&Texts::One(String::new()), 4096).map_or(0, |found| found.ids.len());
            let after = found.ids.len() - special;
            anchors.push(anchors[0] + after);
            for (at, (word, expected)) in words.iter().zip(expected).enumerate() {
                let pieces = &found.ids[anchors[at]..anchors[at + 1]];
                // A word of which nothing is left is a word all the same here: it has a tag.
                let expected = if expected.is_empty() { vec![tokenizer.unknown()] } else { expected.clone() };
                assert_eq!(pieces, expected, "{form}: {word:?} of {words:?}");
            }
        }
    });
}

/// What a run folder keeps is the tokenizer as it was resolved, without the files beside it.
#[test]
fn a_tokenizer_reads_back_as_itself() {
    let texts: Vec<String> = list(&json(&fixtures().join("texts.json"))["texts"]);
    everywhere(|form, tokenizer, _| {
        let again = Tokenizer::from_json(&tokenizer.to_json().expect(form)).expect(form);
        for text in &texts {
            let ids = |tokenizer: &Tokenizer| {
                tokenizer
                    .encode(&Texts::One(text.clone()), 64)
                    .map(|found| found.ids)
                    .map_err(|error| error.to_string())
            };
            assert_eq!(ids(tokenizer), ids(&again), "{form}: {text:?}");
        }
    });
}
