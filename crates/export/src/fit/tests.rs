use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use mtl_backbone::checkpoint::NamedTensor;
use mtl_backbone::{Architecture, Encoder, Part, random};
use mtl_task::rng::Key;
use mtl_task::{Registry, TaskSpec};
use serde_json::{Value, json};

use super::*;
use crate::plain::PlainHead;

const HIDDEN: usize = 16;

fn values(name: &str, count: usize, deviation: f64) -> Vec<f32> {
    let mut stream = Key::new(3).named(name).stream();
    (0..count).map(|_| (stream.normal() * deviation) as f32).collect()
}

fn map(name: &str, outputs: usize, inputs: usize) -> LinearMap {
    LinearMap {
        weight: NamedTensor { shape: vec![outputs, inputs], data: values(name, outputs * inputs, 0.5) },
        bias: NamedTensor { shape: vec![outputs], data: values(&format!("{name} bias"), outputs, 3.) },
    }
}

fn sizes(architecture: &str) -> Value {
    match architecture {
        "distilbert" => json!({
            "vocab_size": 20, "dim": HIDDEN, "n_layers": 1, "n_heads": 2, "hidden_dim": 8, "max_position_embeddings": 8,
        }),
        _ => json!({
            "vocab_size": 20, "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 8,
        }),
    }
}

/// A model of `architecture` whose head reads `pooling`.
fn model(architecture: &str, pooling: Option<Pooling>, activation: HeadActivation, maps: Vec<LinearMap>) -> PlainModel {
    let architectures = Registry::<Architecture>::default();
    let pretrained = random(&architectures, architecture, &sizes(architecture), Key::new(1)).expect("an encoder");
    let classes = architectures.find(architecture).expect("known").classes.expect("classes");
    let mut encoder = BTreeMap::new();
    for (part, flat) in &pretrained.weights {
        for entry in pretrained.encoder.layout(*part).entries() {
            let data = entry.range.clone().map(|at| flat.at(at) as f32).collect();
            encoder.insert(entry.name.clone(), NamedTensor { shape: entry.shape.clone(), data });
        }
    }
    let last = pretrained.encoder.layout(Part::Layer(0)).entries().last().map(|entry| entry.name.clone());
    PlainModel {
        task: "a".into(),
        spec: TaskSpec::default(),
        pairs: Some(false),
        problem: if pooling.is_some() { Problem::OneLabel } else { Problem::Tokens },
        labelled: true,
        stem: classes.stem(architecture).expect("a stem").1,
        classes,
        config: json!({}),
        hidden: HIDDEN,
        segments: true,
        encoder,
        head: PlainHead { pooling, activation, dropout: 0.1, maps },
        max_tokens: 8,
        last_norm: last.and_then(|name| name.strip_suffix(".bias").map(String::from)),
    }
}

fn apply(map: &LinearMap, x: &[f32]) -> Vec<f32> {
    let product = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
    map.rows().zip(&map.bias.data).map(|(row, bias)| (product(row) + f64::from(*bias)) as f32).collect()
}

fn activated(activation: HeadActivation, x: &[f32]) -> Vec<f32> {
    let x = Tensor::new(x, &Device::Cpu).expect("a tensor");
    activation.apply(&x).and_then(|y| y.to_vec1()).expect("computed")
}

/// A vector as the last LayerNorm leaves it at most: scales 1 and shifts 0 in a random encoder.
fn state() -> Vec<f32> {
    let mut state = [-0.9f32; HIDDEN];
    state[3] = 3.5;
    state[4] = -1.7;
    let norm = state.iter().map(|value| value * value).sum::<f32>().sqrt();
    state.iter().map(|value| value / norm * (HIDDEN as f32).sqrt()).collect()
}

#[test]
fn every_head_that_fits_computes_the_same_in_its_class() -> Result<()> {
    for (architecture, own) in [
        ("bert", HeadActivation::Tanh),
        ("roberta", HeadActivation::Tanh),
        ("xlm-roberta", HeadActivation::Tanh),
        ("distilbert", HeadActivation::Relu),
        ("electra", HeadActivation::Gelu),
    ] {
        for hidden in [0, 5, HIDDEN] {
            let maps = match hidden {
                0 => vec![map("last", 3, HIDDEN)],
                width => vec![map("first", width, HIDDEN), map("last", 3, width)],
            };
            let model = model(architecture, Some(Pooling::Cls), own, maps);
            let fitted = Fitted::of(&model)?;
            assert_eq!(fitted.class, format!("{}ForSequenceClassification", model.stem));
            assert_eq!(fitted.unfolded, hidden == 0);
            let dense = fitted.dense.context("a class for texts")?;
            assert_eq!((dense.outputs(), dense.inputs()), (HIDDEN, HIDDEN));
            let x = state();
            let found = apply(&fitted.output, &activated(own, &apply(&dense, &x)));
            let wanted = match model.head.maps.as_slice() {
                [only] => apply(only, &x),
                [first, last] => apply(last, &activated(own, &apply(first, &x))),
                _ => Vec::new(),
            };
            for (found, wanted) in found.iter().zip(&wanted) {
                let apart = (found - wanted).abs() / wanted.abs().max(1.);
                assert!(apart < 1e-6, "{architecture}, hidden {hidden}: {found} for {wanted}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_no_class_computes_is_refused_with_the_setting_that_would_fit() {
    let linear = || vec![map("last", 3, HIDDEN)];
    let wide = |width| vec![map("first", width, HIDDEN), map("last", 3, width)];
    let (cls, tanh) = (Some(Pooling::Cls), HeadActivation::Tanh);
    for (architecture, pooling, activation, maps, named) in [
        ("bert", Some(Pooling::Mean), tanh, linear(), "head.pooling = \"cls\""),
        ("bert", Some(Pooling::Max), tanh, linear(), "the maximum"),
        ("bert", cls, HeadActivation::Relu, wide(4), "head.activation = \"tanh\""),
        ("distilbert", cls, tanh, wide(4), "head.activation = \"relu\""),
        ("electra", cls, tanh, wide(4), "head.activation = \"gelu\""),
        ("bert", cls, tanh, wide(HIDDEN + 1), "head.hidden = 16 or less"),
        ("bert", None, tanh, wide(4), "head.hidden = 0"),
        ("distilbert", cls, tanh, vec![map("last", 9, HIDDEN)], "head.hidden = 16 and head.activation = \"relu\""),
        ("bert", cls, tanh, vec![map("last", 17, HIDDEN)], "head.activation = \"tanh\""),
    ] {
        let error = format!("{:#}", Fitted::of(&model(architecture, pooling, activation, maps)).expect_err(named));
        assert!(error.contains(named), "`{named}` is missing in: {error}");
    }
    let mut hidden_tokens = model("bert", None, tanh, linear());
    hidden_tokens.labelled = false;
    assert!(Fitted::of(&hidden_tokens).expect_err("no class").to_string().contains("hidden tokens"));
}

#[test]
fn a_head_over_tokens_is_one_map() -> Result<()> {
    let last = map("last", 3, HIDDEN);
    let fitted = Fitted::of(&model("electra", None, HeadActivation::Tanh, vec![last.clone()]))?;
    assert_eq!(
        fitted,
        Fitted { class: "ElectraForTokenClassification".into(), dense: None, output: last, unfolded: false }
    );
    Ok(())
}
