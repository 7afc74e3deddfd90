//! The tokenizer: hostile files are refused without a panic, and texts, pairs and words come out as BERT wants them.

use std::path::Path;

use candle_core::{Device, Tensor};
use mtl_data::{Texts, Tokenizer};
use mtl_task::{Label, Packed, TaskSpec};
use serde_json::{Value, json};

const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nplay\n##ing\nHello\nhello\nworld\na\nb\n한국\n##어\n##는\n\
                     재미\n##있\n##다\n!\n";
const UNK: u32 = 1;
const CLS: u32 = 2;
const SEP: u32 = 3;

fn folder(vocabulary: &str, settings: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("vocab.txt"), vocabulary).expect("written");
    if let Some(settings) = settings {
        std::fs::write(folder.path().join("tokenizer_config.json"), settings).expect("written");
    }
    folder
}

fn cased() -> Tokenizer {
    Tokenizer::read(folder(WORDS, Some(r#"{"do_lower_case": false}"#)).path()).expect("a tokenizer")
}

fn file() -> Value {
    serde_json::from_str(&cased().to_json().expect("its text")).expect("JSON")
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(&Texts::One(text.into()), 64).expect("encoded").ids
}

fn ids_of(words: &[&str]) -> Vec<u32> {
    let line = |word: &&str| WORDS.lines().position(|line| line == *word).expect("in the vocabulary") as u32;
    [CLS].into_iter().chain(words.iter().map(line)).chain([SEP]).collect()
}

fn refused(change: impl FnOnce(&mut Value), named: &str) {
    let mut file = file();
    change(&mut file);
    let error = format!("{:#}", Tokenizer::from_json(&file.to_string()).expect_err(named));
    assert!(error.contains(named), "`{named}` is missing in: {error}");
}

#[test]
fn files_that_would_break_the_library_are_refused() {
    refused(|file| file["model"]["unk_token"] = "<none>".into(), "model.unk_token: `<none>`");
    refused(|file| file["model"]["vocab"]["a"] = json!(u64::MAX), "model.vocab: `a` has the id");
    refused(|file| file["model"]["vocab"]["a"] = json!(-1), "a whole number below");
    refused(|file| file["added_tokens"][1]["id"] = json!(4_000_000_000_u64), "added_tokens[1].id");
    refused(
        |file| file["post_processor"]["special_tokens"] = json!({}),
        "post_processor.single[0]: the special token `[CLS]` is not defined",
    );
    refused(
        |file| file["post_processor"]["single"] = json!([{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }]),
        "leaves the text out",
    );
    refused(
        |file| {
            let pair = file["post_processor"]["pair"].as_array_mut().expect("a list");
            pair.swap(1, 3);
        },
        "second text of a pair first",
    );
    refused(
        |file| {
            file["model"] = json!({ "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": ["a b"], "unk_token": null })
        },
        "model.merges[0]: `ab` is not in the vocabulary",
    );
    refused(
        |file| file["model"] = json!({ "type": "BPE", "vocab": { "a": 0 }, "merges": ["a"] }),
        "model.merges[0]: two tokens were expected",
    );
    refused(
        |file| {
            file["pre_tokenizer"] =
                json!({ "type": "Split", "pattern": { "Regex": "(" }, "behavior": "Isolated", "invert": false })
        },
        "no tokenizer",
    );
    refused(|file| file["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" }), "");
    refused(|file| file["model"] = json!({ "type": "Unigram", "vocab": [], "unk_id": 7 }), "");
    for (text, named) in [("", "no JSON"), ("[]", "object"), ("{\"model\": ", "no JSON"), ("{}", "no tokenizer")] {
        let error = format!("{:#}", Tokenizer::from_json(text).expect_err(text));
        assert!(error.contains(named), "{error}");
    }
}

/// Every value of the file in turn becomes one of a wrong type or size: refused or not, nothing panics.
#[test]
fn no_single_change_of_the_file_makes_it_panic() {
    fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
        into.push(path.to_string());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| paths(value, &format!("{path}/{key}"), into));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, value)| paths(value, &format!("{path}/{at}"), into));
            }
            _ => {}
        }
    }
    let file = file();
    let mut places = Vec::new();
    paths(&file, "", &mut places);
    let text = Texts::Pair("Hello playing 한국어는 \u{0}\u{fffd}".into(), "world!".into());
    let (mut loaded, mut refused) = (0, 0);
    for place in places.iter().skip(1) {
        for wrong in [Value::Null, json!(""), json!(-1), json!(u32::MAX), json!([]), json!({ "type": "?" })] {
            let mut changed = file.clone();
            *changed.pointer_mut(place).expect("the same file") = wrong;
            match Tokenizer::from_json(&changed.to_string()) {
                Ok(tokenizer) => {
                    loaded += 1;
                    let _ = tokenizer.encode(&text, 16);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
    assert!(loaded > 50 && refused > 200, "{loaded} loaded, {refused} refused");
}

#[test]
fn padding_and_truncation_of_the_file_are_dropped() {
    let mut file = file();
    file["padding"] = json!({ "strategy": { "Fixed": 128 }, "direction": "Left", "pad_to_multiple_of": 0, "pad_id": 0,
                              "pad_type_id": 0, "pad_token": "[PAD]" });
    file["truncation"] = json!({ "max_length": 1, "strategy": "LongestFirst", "stride": 5, "direction": "Right" });
    let tokenizer = Tokenizer::from_json(&file.to_string()).expect("a tokenizer");
    assert_eq!(ids(&tokenizer, "Hello world"), ids_of(&["Hello", "world"]));
    let again = Tokenizer::from_json(&tokenizer.to_json().expect("its text")).expect("it reads back");
    assert_eq!(ids(&again, "Hello world"), ids_of(&["Hello", "world"]));
}

#[test]
fn a_vocabulary_alone_lowers_letters_unless_its_settings_say_otherwise() {
    let read = |settings: Option<&str>| Tokenizer::read(folder(WORDS, settings).path()).expect("a tokenizer");
    assert_eq!(ids(&read(None), "Hello"), ids_of(&["hello"]));
    assert_eq!(ids(&read(Some("{}")), "Hello"), ids_of(&["hello"]));
    assert_eq!(ids(&read(Some(r#"{"do_lower_case": false}"#)), "Hello"), ids_of(&["Hello"]));
    assert_eq!(read(None).vocabulary(), WORDS.lines().count());
}

#[test]
fn a_vocabulary_that_cannot_be_one_is_refused() {
    let error = |folder: &Path| format!("{:#}", Tokenizer::read(folder).expect_err("no tokenizer"));
    let twice = error(folder("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n", None).path());
    assert!(twice.contains("vocab.txt") && twice.contains("line 6: `a` stands in the vocabulary twice"), "{twice}");
    let special = error(folder("[PAD]\n[UNK]\n[CLS]\na\n", None).path());
    assert!(special.contains("the vocabulary has no `[SEP]`"), "{special}");
    let settings = error(folder(WORDS, Some("<html>")).path());
    assert!(settings.contains("tokenizer_config.json: no JSON"), "{settings}");
    let none = error(tempfile::tempdir().expect("a folder").path());
    assert!(none.contains("neither tokenizer.json nor vocab.txt") && none.contains("fetch"), "{none}");
}

#[test]
fn korean_words_come_apart_at_their_endings() {
    let (tokenizer, text) = (cased(), "한국어는 재미있다!");
    assert_eq!(ids(&tokenizer, text), ids_of(&["한국", "##어", "##는", "재미", "##있", "##다", "!"]));
    let words = Texts::Tokens(text.split(' ').map(String::from).collect());
    let encoded = tokenizer.encode(&words, 64).expect("encoded");
    assert_eq!((encoded.anchors, encoded.words), (vec![1, 4], 2));
    assert_eq!(ids(&tokenizer, "모르는"), [CLS, UNK, SEP]);
}

#[test]
fn of_a_pair_the_longer_text_is_cut_first() {
    let tokenizer = cased();
    let pair = |a: usize, b: usize, most: usize| {
        let text = |word: &str, count: usize| vec![word; count].join(" ");
        let encoded = tokenizer.encode(&Texts::Pair(text("a", a), text("b", b)), most).expect("encoded");
        assert_eq!(encoded.ids.len(), encoded.segments.len());
        let of = |segment: u32| encoded.segments.iter().filter(|&&s| s == segment).count();
        // [CLS] a… [SEP] are of segment 0, b… [SEP] of segment 1.
        (of(0) - 2, of(1) - 1)
    };
    assert_eq!(pair(5, 2, 64), (5, 2));
    assert_eq!(pair(5, 2, 8), (3, 2));
    assert_eq!(pair(2, 5, 8), (2, 3));
    assert_eq!(pair(9, 9, 10), (4, 3));
    assert_eq!(pair(100, 1, 13), (9, 1));
    assert_eq!(pair(0, 100, 13), (0, 10));
    let error = tokenizer.encode(&Texts::Pair("a".into(), "b".into()), 3).expect_err("no room").to_string();
    assert!(error.contains("at most 3 tokens leave no room"), "{error}");
}

#[test]
fn a_long_text_is_cut_where_the_whole_one_would_be() {
    let tokenizer = cased();
    let text = "playing  Hello ".repeat(3000);
    let most = 40;
    let cut = tokenizer.encode(&Texts::One(text), most).expect("encoded").ids;
    let whole = ids(&tokenizer, &"playing  Hello ".repeat(18));
    assert_eq!(cut.len(), most);
    assert_eq!(cut[..most - 1], whole[..most - 1]);
    assert_eq!(cut[most - 1], SEP);
}

#[test]
fn every_word_has_its_first_piece_as_anchor() {
    let tokenizer = cased();
    let words = |words: &[&str], most: usize| {
        let words = Texts::Tokens(words.iter().map(|word| (*word).to_string()).collect());
        tokenizer.encode(&words, most).expect("encoded")
    };
    let whole = words(&["playing", "\u{200d}", "world"], 64);
    assert_eq!(whole.ids, [&ids_of(&["play", "##ing"])[..3], &[UNK], &ids_of(&["world"])[1..]].concat());
    assert_eq!((whole.anchors, whole.words), (vec![1, 3, 4], 3));
    // A word that does not fit goes as a whole, and those behind it too.
    let cut = words(&["a", "playing", "b"], 4);
    assert_eq!((cut.ids, cut.anchors, cut.words), (ids_of(&["a"]), vec![1], 3));
    let first = words(&["playing"], 3);
    assert_eq!((first.ids, first.anchors, first.words), (ids_of(&["play"]), vec![1], 1));
}

#[test]
fn what_is_left_out_of_a_text_is_told() {
    let tokenizer = cased();
    let cuts = |texts: &Texts, most: usize| tokenizer.cuts(texts, most).expect("readable");
    let one = Texts::One("a playing b".into());
    let pair = Texts::Pair("a b".into(), "playing".into());
    let words = Texts::Tokens(["a", "playing", "b"].map(String::from).to_vec());
    // Four pieces with two special tokens, or three in a pair.
    for (texts, whole) in [(&one, 6), (&pair, 7), (&words, 6)] {
        assert!(!cuts(texts, whole) && !cuts(texts, whole + 1), "{texts:?}");
        assert!((4..whole).all(|most| cuts(texts, most)), "{texts:?}");
        assert_eq!(tokenizer.encode(texts, whole).expect("encoded").ids.len(), whole);
    }
    assert!(!cuts(&Texts::One(String::new()), 3));
}

#[test]
fn words_that_were_cut_off_are_answered_as_outside() {
    let spec = TaskSpec {
        kind: "tagging".into(),
        labels: ["B-x", "I-x", "O"].map(String::from).to_vec(),
        ..TaskSpec::default()
    };
    let task = mtl_task::build(&Default::default(), &spec).expect("a task");
    let words = Texts::Tokens(["playing", "playing", "world"].map(String::from).to_vec());
    let packed = Packed::new([&cased().encode(&words, 6).expect("encoded")]);
    assert_eq!(packed.anchors, [1, 3]);
    let logits = Tensor::new(&[[3f32, 0., 0.], [0., 3., 0.]], &Device::Cpu).expect("a tensor");
    let answers = task.decode(&logits, &packed).expect("decoded");
    assert_eq!(answers[0].label, Label::Tags(vec![0, 1, 2]));
    assert_eq!(answers[0].scores.len(), 3);
    assert_eq!(answers[0].scores[2], 0., "nothing is known of a word that was not read");
}
