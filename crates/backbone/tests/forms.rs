//! One encoder in each of the forms that people's checkpoints have, against transformers' states; and what is refused.
//!
//! `fixtures/forms.py` made the files and the expected states.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::{DType, Device};
use mtl_backbone::checkpoint::{Checkpoint, NamedTensor, read_safetensors, write_safetensors_atomic};
use mtl_backbone::{Encoder, Params, Pass, Pretrained, pretrained, pretrained_as, random};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, Registry};
use serde_json::{Value, json};

/// Every form, with the architecture that a manifest would state.
const FORMS: &[(&str, &str)] = &[
    ("camembert", "camembert"),
    ("compiled", "bert"),
    ("dpr-context", "bert"),
    ("dpr-question", "dpr"),
    ("no-type", "roberta"),
    ("sentence", "distilbert"),
    ("tied", "roberta"),
    ("wrapped", "electra"),
    ("xlm-roberta", "roberta"),
];

fn forms() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a fixture")).expect("JSON")
}

fn states(model: &Pretrained, expected: &Value) -> Result<Vec<f32>> {
    let mut params = Params::new(&Device::Cpu, DType::F32);
    model.insert("shared", &mut params)?;
    let list = |key: &str| serde_json::from_value(expected[key].clone()).expect("a list");
    let text = Encoded { ids: list("ids"), segments: list("segments"), ..Encoded::default() };
    let states = model.encoder.states("shared", &params, &Packed::new([&text]), &mut Pass::evaluation())?;
    Ok(states.flatten_all()?.to_vec1()?)
}

#[test]
fn every_form_computes_what_transformers_does() -> Result<()> {
    for (form, architecture) in FORMS {
        let folder = forms().join(form);
        let model = pretrained_as(&Registry::default(), &Checkpoint::read(&folder)?, architecture)?;
        let expected = json(&folder.join("expected.json"));
        let wanted: Vec<f32> = serde_json::from_value(expected["states"].clone())?;
        let found = states(&model, &expected)?;
        assert_eq!(found.len(), wanted.len(), "{form}");
        let off = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
        assert!(off <= 1e-5, "{form}: off by {off:e}");
        // What a run keeps of the model opens again without its manifest.
        assert_eq!(
            random(&Registry::default(), &model.architecture, &model.config, Key::new(0))?.encoder.shape(),
            model.encoder.shape()
        );
        assert!(model.config["model_type"].is_string());
    }
    Ok(())
}

#[test]
fn every_fixture_is_computed() {
    let entries = fs::read_dir(forms()).expect("fixtures").map(|entry| entry.expect("an entry").file_name());
    let found: BTreeSet<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(found, FORMS.iter().map(|(form, _)| form.to_string()).collect());
}

/// A copy of a form, changed.
fn changed(form: &str, change: impl FnOnce(&mut Value, &mut Vec<(String, NamedTensor)>)) -> tempfile::TempDir {
    let from = forms().join(form);
    let mut config = json(&from.join("config.json"));
    let mut tensors: Vec<(String, NamedTensor)> =
        read_safetensors(&from.join("model.safetensors")).expect("sound").into_iter().collect();
    change(&mut config, &mut tensors);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let named = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    write_safetensors_atomic(&folder.path().join("model.safetensors"), named).expect("written");
    folder
}

#[track_caller]
fn refused(folder: &Path, architecture: &str, parts: &[&str]) {
    let error = Checkpoint::read(folder)
        .and_then(|checkpoint| pretrained_as(&Registry::default(), &checkpoint, architecture).map(drop));
    let message = format!("{:#}", error.expect_err("refused"));
    for part in parts.iter().chain([&folder.display().to_string().as_str()]) {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

fn tensor(shape: &[usize]) -> NamedTensor {
    NamedTensor { shape: shape.to_vec(), data: vec![0.5; shape.iter().product()] }
}

#[test]
fn tensors_of_an_encoder_that_nothing_takes_are_named() {
    let with = |name: &str| {
        let name = name.to_string();
        changed("compiled", |_, tensors| tensors.push((format!("_orig_mod.bert.{name}"), tensor(&[2, 2]))))
    };
    let relative = "encoder.layer.0.attention.self.distance_embedding.weight";
    refused(with(relative).path(), "bert", &[relative, "position_embedding_type"]);
    let layer = "encoder.layer.1.output.dense.bias";
    refused(with(layer).path(), "bert", &[layer, "says 1 layers, and there is a layer 1"]);
    let cross = "encoder.layer.0.crossattention.self.key.weight";
    refused(with(cross).path(), "bert", &[cross, "decoder"]);
    // Poolers, heads and constants are no part of an encoder.
    for name in ["pooler.more.weight", "embeddings.position_ids", "classifier.bias"] {
        let folder = with(name);
        pretrained(&Registry::default(), &Checkpoint::read(folder.path()).expect(name)).expect(name);
    }
}

#[test]
fn an_encoder_that_is_not_whole_or_not_alone_is_refused_with_the_names_that_are_there() {
    let moved = changed("compiled", |_, tensors| {
        for (name, _) in tensors.iter_mut().filter(|(name, _)| name.contains(".encoder.")) {
            *name = name.replace("_orig_mod.", "elsewhere.");
        }
    });
    refused(moved.path(), "bert", &["`encoder.layer.0.", "missing", "there is `elsewhere.bert.encoder.layer.0."]);
    let both = changed("dpr-question", |_, tensors| {
        let more: Vec<(String, NamedTensor)> = tensors
            .iter()
            .map(|(name, tensor)| (name.replace("question_encoder.", "ctx_encoder."), tensor.clone()))
            .collect();
        tensors.extend(more);
    });
    refused(both.path(), "bert", &["ctx_encoder.bert_model.", "question_encoder.bert_model.", "keep one"]);
}

#[test]
fn an_architecture_that_is_contradicted_is_refused() {
    refused(&forms().join("xlm-roberta"), "bert", &["config.json", "says `xlm-roberta`", "manifest says `bert`"]);
    refused(&forms().join("no-type"), "bert", &["config.json", "says `RobertaModel`", "manifest says `bert`"]);
    refused(&forms().join("compiled"), "t5", &["unknown architecture `t5`"]);
    let nameless = changed("no-type", |config, _| config["architectures"] = Value::Null);
    let checkpoint = Checkpoint::read(nameless.path()).expect("sound");
    let message = format!("{:#}", pretrained(&Registry::default(), &checkpoint).err().expect("nothing says which"));
    assert!(message.contains("`model_type` is missing"), "{message}");
    assert_eq!(
        pretrained_as(&Registry::default(), &checkpoint, "roberta")
            .expect("the manifest says it")
            .encoder
            .shape()
            .first_position,
        2
    );
}

#[test]
fn configurations_that_are_not_computed_or_cannot_be_are_refused_by_their_key() {
    for (form, architecture, key, value) in [
        ("compiled", "bert", "position_embedding_type", json!("relative_key")),
        ("compiled", "bert", "is_decoder", json!(true)),
        ("compiled", "bert", "add_cross_attention", json!(true)),
        ("compiled", "bert", "embedding_size", json!(8)),
        ("compiled", "bert", "hidden_act", json!("quick_gelu")),
        ("sentence", "distilbert", "activation", json!(7)),
        ("sentence", "distilbert", "embedding_size", json!(8)),
        ("xlm-roberta", "roberta", "pad_token_id", json!(17)),
        ("xlm-roberta", "roberta", "pad_token_id", json!(31)),
        ("compiled", "bert", "hidden_size", json!(0)),
        ("compiled", "bert", "layer_norm_eps", json!(-1e-5)),
        ("compiled", "bert", "num_hidden_layers", json!(0)),
    ] {
        let folder = changed(form, |config, _| config[key] = value);
        refused(folder.path(), architecture, &["config.json", &format!("`{key}`")]);
    }
}

/// Random encoders and those of a run's own configuration come in another way, past the same checks.
#[test]
fn random_encoders_are_held_to_the_same_limits() {
    let plain = json!({
        "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
        "max_position_embeddings": 16, "layer_norm_eps": 1e-12,
    });
    random(&Registry::default(), "roberta", &plain, Key::new(1)).expect("a small one");
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(1u64 << 40)),
        ("num_attention_heads", json!(0)),
        ("num_hidden_layers", json!(u64::MAX)),
        ("max_position_embeddings", json!(-1)),
        ("max_position_embeddings", json!(2)),
        ("pad_token_id", json!(15)),
        ("pad_token_id", json!(40)),
        ("layer_norm_eps", json!("NaN")),
        ("hidden_dropout_prob", json!(1.5)),
        ("initializer_range", json!(-0.1)),
        ("position_embedding_type", json!("alibi")),
    ] {
        let mut config = plain.clone();
        config[key] = value;
        let message = format!("{:#}", random(&Registry::default(), "roberta", &config, Key::new(1)).err().expect(key));
        assert!(message.contains(&format!("`{key}`")), "{message}");
    }
    let mut huge = plain;
    (huge["hidden_size"], huge["intermediate_size"], huge["num_hidden_layers"]) =
        (8192.into(), 32768.into(), 48.into());
    let message = format!(
        "{:#}",
        random(&Registry::default(), "bert", &huge, Key::new(1)).err().expect("38 thousand million weights")
    );
    assert!(message.contains("weights, where at most 2.0e9"), "{message}");
}
