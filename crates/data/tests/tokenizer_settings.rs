//! What the files beside a vocabulary say: done, or refused by its key; and normalisers that would not end.

use std::path::Path;

use mtl_data::{Texts, Tokenizer};
use serde_json::{Value, json};

const WORDS: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nschön\nschon\n漢字\n漢\n字\nHaus\nhaus\n<a>\n";

/// A folder of the given files.
fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

fn beside(settings: Value) -> tempfile::TempDir {
    folder(&[("vocab.txt", WORDS.into()), ("tokenizer_config.json", settings.to_string())])
}

fn read(folder: &Path) -> Tokenizer {
    Tokenizer::read(folder).expect("a tokenizer")
}

#[track_caller]
fn refused(folder: &Path, parts: &[&str]) {
    let message = format!("{:#}", Tokenizer::read(folder).expect_err("refused"));
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

/// The pieces of `text`, without special tokens.
fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let file: Value = serde_json::from_str(&tokenizer.to_json().expect("its text")).expect("JSON");
    let vocabulary = file["model"]["vocab"].as_object().expect("a vocabulary").clone();
    let name = |id: &u32| vocabulary.iter().find(|(_, of)| of.as_u64() == Some(u64::from(*id))).map(|(name, _)| name);
    let ids = tokenizer.encode(&Texts::One(text.into()), 64).expect("encoded").ids;
    ids.iter().map(|id| name(id).cloned().unwrap_or(format!("#{id}"))).filter(|name| !name.starts_with("[")).collect()
}

#[test]
fn accents_signs_and_capitals_are_as_the_configuration_says() {
    let of = |settings: Value, text: &str| pieces(&read(beside(settings).path()), text);
    assert_eq!(of(json!({}), "Schön Haus"), ["schon", "haus"]);
    assert_eq!(of(json!({ "strip_accents": false }), "Schön Haus"), ["schön", "haus"]);
    assert_eq!(of(json!({ "do_lower_case": false }), "schön Haus"), ["schön", "Haus"]);
    assert_eq!(of(json!({ "do_lower_case": false, "strip_accents": true }), "schön Haus"), ["schon", "Haus"]);
    assert_eq!(of(json!({}), "漢字"), ["漢", "字"]);
    assert_eq!(of(json!({ "tokenize_chinese_chars": false }), "漢字"), ["漢字"]);
    // Beside a tokenizer.json they say the same.
    let file = read(beside(json!({})).path()).to_json().expect("its text");
    let both = |settings: Value| {
        let folder = folder(&[("tokenizer.json", file.clone()), ("tokenizer_config.json", settings.to_string())]);
        pieces(&read(folder.path()), "Haus")
    };
    assert_eq!(both(json!({ "do_lower_case": false })), ["Haus"]);
    assert_eq!(both(json!({ "model_max_length": 512 })), ["haus"]);
}

#[test]
fn keys_that_are_not_done_are_refused_by_name() {
    for (key, value) in [
        ("auto_map", json!({ "AutoTokenizer": ["tokenization.Mine", null] })),
        ("add_bos_token", json!(true)),
        ("add_prefix_space", json!(true)),
        ("clean_text", json!(false)),
        ("do_basic_tokenize", json!(false)),
        ("do_lower_case", json!("yes")),
        ("never_split", json!(["Haus"])),
        ("split_special_tokens", json!(true)),
        ("subword_tokenizer_type", json!("character")),
        ("tokenizer_class", json!("PhobertTokenizer")),
        ("truncation_side", json!("left")),
        ("word_tokenizer_type", json!("mecab")),
        ("additional_special_tokens", json!(["<nowhere>"])),
        ("unk_token", json!("<none>")),
        ("cls_token", json!("<none>")),
        ("sp_model_kwargs", json!({ "enable_sampling": true })),
    ] {
        refused(
            beside(json!({ key: value })).path(),
            &["vocab.txt", if key.ends_with("k_token") || key == "cls_token" { "<none>" } else { key }],
        );
    }
    // What transformers writes into every file.
    let plain = json!({
        "clean_up_tokenization_spaces": true, "do_basic_tokenize": true, "do_lower_case": true, "never_split": null,
        "mask_token": "[MASK]", "model_max_length": 512, "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]",
        "strip_accents": null, "tokenize_chinese_chars": true, "tokenizer_class": "BertTokenizerFast",
        "cls_token": { "__type": "AddedToken", "content": "[CLS]", "lstrip": false }, "additional_special_tokens": [],
        "truncation_side": "right", "sp_model_kwargs": {}, "bos_token": null,
    });
    read(beside(plain).path());
}

#[test]
fn a_tokenizer_file_and_its_configuration_must_agree() {
    let file = read(beside(json!({})).path()).to_json().expect("its text");
    let both = |change: &dyn Fn(&mut Value), settings: Value| {
        let mut file: Value = serde_json::from_str(&file).expect("JSON");
        change(&mut file);
        folder(&[("tokenizer.json", file.to_string()), ("tokenizer_config.json", settings.to_string())])
    };
    let same = |_: &mut Value| {};
    refused(both(&same, json!({ "cls_token": "[MASK]" })).path(), &["`cls_token` is `[MASK]`", "template"]);
    refused(both(&same, json!({ "unk_token": "<none>" })).path(), &["model.unk_token: `<none>`"]);
    let unset = |file: &mut Value| file["normalizer"] = Value::Null;
    refused(both(&unset, json!({ "do_lower_case": true })).path(), &["`do_lower_case` is true", "no normalizer"]);
    let lowering = |file: &mut Value| file["normalizer"] = json!({ "type": "Lowercase" });
    refused(both(&lowering, json!({ "do_lower_case": false })).path(), &["`do_lower_case` is false"]);
    read(both(&lowering, json!({ "do_lower_case": true })).path());
    // A class of which the file says everything: the configuration says nothing then.
    read(both(&unset, json!({ "do_lower_case": true, "tokenizer_class": "PreTrainedTokenizerFast" })).path());
    let decoder =
        |id: u32| json!({ "added_tokens_decoder": { id.to_string(): { "content": "<a>", "special": true } } });
    read(both(&same, decoder(12)).path());
    refused(both(&same, decoder(11)).path(), &["the added token 11", "`<a>` has the id 12"]);
    let far = json!({ "added_tokens_decoder": { "99": { "content": "<far>" } } });
    refused(both(&same, far).path(), &["`<far>` is to have the id 99", "gives it 13"]);
}

#[test]
fn keys_that_the_library_ignores_are_refused() {
    let file = read(beside(json!({})).path()).to_json().expect("its text");
    for (place, key) in [
        ("", "augmentation"),
        ("/model", "temperature"),
        ("/normalizer", "keep_accents"),
        ("/pre_tokenizer", "add_spaces"),
        ("/post_processor", "swap"),
    ] {
        let mut file: Value = serde_json::from_str(&file).expect("JSON");
        file.pointer_mut(place).expect("there")[key] = json!(true);
        let message = format!("{:#}", Tokenizer::from_json(&file.to_string()).expect_err(key));
        assert!(message.contains(key), "{message}");
    }
    let mut file: Value = serde_json::from_str(&file).expect("JSON");
    file["truncation"] = json!({ "max_length": 9, "strategy": "LongestFirst", "stride": 0, "direction": "Left" });
    let message = format!("{:#}", Tokenizer::from_json(&file.to_string()).expect_err("from the left"));
    assert!(message.contains("truncation.direction"), "{message}");
}

/// A byte-level BPE in which `ab` is one token, or two where the merge is dropped.
fn merging(dropout: Value) -> Value {
    json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null, "decoder": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": dropout, "unk_token": null, "vocab": { "a": 0, "b": 1, "ab": 2, "Ġ": 3 },
                   "merges": [["a", "b"]] }
    })
}

#[test]
fn merges_are_never_dropped() {
    let ids = |dropout: Value| {
        let tokenizer = Tokenizer::from_json(&merging(dropout).to_string()).expect("a tokenizer");
        assert!(tokenizer.to_json().expect("its text").contains("\"dropout\":null"));
        let text = Texts::One("ab ".repeat(100));
        let first = tokenizer.encode(&text, 1000).expect("encoded").ids;
        assert_eq!(tokenizer.encode(&text, 1000).expect("encoded").ids, first);
        first
    };
    assert_eq!(ids(json!(0.9)), ids(Value::Null));
    assert_eq!(ids(json!(1.0)), ids(Value::Null));
}

#[test]
fn words_of_a_byte_level_vocabulary_have_their_space_if_the_configuration_says_so() {
    let mut file = merging(Value::Null);
    file["model"]["vocab"]["Ġa"] = json!(4);
    file["model"]["merges"] = json!([["Ġ", "a"], ["a", "b"]]);
    let of = |settings: Value| {
        let folder = folder(&[("tokenizer.json", file.to_string()), ("tokenizer_config.json", settings.to_string())]);
        let words = Texts::Tokens(vec!["a".into(), "ab".into()]);
        read(folder.path()).encode(&words, 64).expect("encoded").ids
    };
    assert_eq!(of(json!({})), [0, 2]);
    assert_eq!(of(json!({ "add_prefix_space": false })), [0, 2]);
    assert_eq!(of(json!({ "add_prefix_space": true })), [4, 4, 1]);
}

#[test]
fn the_texts_of_a_pair_are_two_segments_without_a_template_too() {
    let mut file: Value =
        serde_json::from_str(&read(beside(json!({})).path()).to_json().expect("its text")).expect("JSON");
    file["post_processor"] = Value::Null;
    let tokenizer = Tokenizer::from_json(&file.to_string()).expect("a tokenizer");
    let pair = tokenizer.encode(&Texts::Pair("haus schon".into(), "haus".into()), 64).expect("encoded");
    assert_eq!(pair.segments, [0, 0, 1]);
}

#[test]
fn normalisers_that_grow_their_own_text_are_stopped() {
    let plain: Value =
        serde_json::from_str(&read(beside(json!({})).path()).to_json().expect("its text")).expect("JSON");
    let with = |steps: Vec<Value>| {
        let mut file = plain.clone();
        file["normalizer"] = json!({ "type": "Sequence", "normalizers": steps });
        Tokenizer::from_json(&file.to_string())
    };
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let message = |steps| format!("{:#}", with(steps).expect_err("without end"));
    for steps in [
        vec![replace("x", "xx"); 60],
        vec![json!({ "type": "Replace", "pattern": { "Regex": "" }, "content": "y" }); 60],
        vec![json!({ "type": "Replace", "pattern": { "Regex": "." }, "content": "zz" }); 60],
        vec![json!({ "pattern": { "String": "x" }, "content": "xx" }); 60],
        vec![json!({ "type": "Prepend", "prepend": "p".repeat(10_000) }); 60],
        vec![replace("e", &"e".repeat(1 << 20)); 3],
    ] {
        let message = message(steps);
        assert!(message.contains("of the normalizer makes") && message.contains("64 times"), "{message}");
    }
    // Long chains of what does not grow, or grows once, are taken; a text that does is refused when it comes.
    let signs = ["½", "¼", "¾", "…", "№", "™", "ﬁ", "ﬂ", "ﬀ", "ß"].map(|sign| replace(sign, "abcdef"));
    let tokenizer = with(signs.to_vec()).expect("a tokenizer");
    assert_eq!(tokenizer.encode(&Texts::One("½ haus".into()), 64).expect("encoded").ids, [2, 1, 11, 3]);
    let hidden = json!({ "type": "Replace", "pattern": { "Regex": "q(?=.{200})" }, "content": "qqqqqqqqqq" });
    let tokenizer = with(vec![hidden; 12]).expect("a tokenizer");
    let error = tokenizer.encode(&Texts::One("q".repeat(400)), 64).expect_err("it grows");
    assert!(error.to_string().contains("of the normalizer makes"), "{error}");
    assert_eq!(tokenizer.encode(&Texts::One("haus".into()), 64).expect("encoded").ids, [2, 11, 3]);
}

#[test]
fn files_of_other_tokenizers_are_named_with_the_way_to_convert_them() {
    refused(folder(&[("sentencepiece.bpe.model", "x".into())]).path(), &["sentencepiece.bpe.model", "save_pretrained"]);
    refused(folder(&[("vocab.json", "{}".into())]).path(), &["neither tokenizer.json", "merges.txt"]);
    let vocabulary = json!({ "<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4 }).to_string();
    let with = |merges: &str| folder(&[("vocab.json", vocabulary.clone()), ("merges.txt", merges.into())]);
    read(with("#version: 0.2\na b\n").path());
    refused(with("#version: 0.2\na b c\n").path(), &["merges.txt, line 2", "two tokens"]);
    refused(with("a x\n").path(), &["model.merges[0]", "not in the vocabulary"]);
    let bare = folder(&[("vocab.json", "{\"a\": 0}".into()), ("merges.txt", String::new())]);
    refused(bare.path(), &["vocab.json", "no `</s>`"]);
    refused(folder(&[("tokenizer.json", "[]".into())]).path(), &["tokenizer.json", "object"]);
    let broken = folder(&[("vocab.txt", WORDS.into()), ("added_tokens.json", "{\"<x>\": \"1\"}".into())]);
    refused(broken.path(), &["added_tokens.json", "`<x>`"]);
}
