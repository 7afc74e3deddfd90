//! Graphs against the encoders that they are made from: every architecture, activation and kind of head, over texts of
//! several lengths. `docs/onnx.py` does the same under onnxruntime.

mod support;

use std::collections::BTreeSet;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mtl_backbone::{Encoder as _, Params, Part, Pass, Pooling, Pretrained, pool, random};
use mtl_onnx::proto::{GraphProto, ModelProto};
use mtl_onnx::{Activation, Encoder, Head, Linear, MOST_INLINE, Output, Reads, Settings, Weights, graph};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, Registry};
use prost::Message;
use serde_json::{Value, json};
use support::Array;

const HIDDEN: usize = 8;

/// The architectures, each with another activation.
fn models() -> Vec<(&'static str, Activation, Value)> {
    let bert = |act: &str| {
        json!({
            "vocab_size": 30, "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 12, "max_position_embeddings": 16, "hidden_act": act, "initializer_range": 0.5,
            "layer_norm_eps": 1e-6,
        })
    };
    let with = |mut config: Value, key: &str, value: Value| {
        config[key] = value;
        config
    };
    let distilbert = json!({
        "vocab_size": 30, "dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 12, "max_position_embeddings": 16,
        "activation": "relu", "initializer_range": 0.5,
    });
    vec![
        ("bert", Activation::Gelu, bert("gelu")),
        ("bert", Activation::Silu, bert("silu")),
        ("distilbert", Activation::Relu, distilbert),
        ("electra", Activation::GeluTanh, with(bert("gelu_new"), "embedding_size", 4.into())),
        ("roberta", Activation::Gelu, with(bert("gelu"), "pad_token_id", 1.into())),
    ]
}

fn weights(name: &str, shape: &[usize]) -> Weights {
    let mut stream = Key::new(9).named(name).stream();
    let values = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
    Weights { name: name.into(), shape: shape.to_vec(), values }
}

fn linear(name: &str, outputs: usize, inputs: usize) -> Linear {
    Linear {
        weight: weights(&format!("{name}.weight"), &[outputs, inputs]),
        bias: weights(&format!("{name}.bias"), &[outputs]),
    }
}

fn heads() -> Vec<Head> {
    let head = |task: &str, reads, output, outputs| Head {
        task: task.into(),
        reads,
        hidden: None,
        map: linear(task, outputs, HIDDEN),
        output,
    };
    let deep = Head {
        hidden: Some((linear("deep.hidden", 5, HIDDEN), Activation::Tanh)),
        map: linear("deep", 2, 5),
        ..head("deep", Reads::First, Output::Sigmoid, 2)
    };
    vec![
        head("classes", Reads::Mean, Output::Softmax, 3),
        head("logits", Reads::Maximum, Output::Logits, 4),
        deep,
        head("value", Reads::Mean, Output::Rescaled { mean: 20., deviation: 4. }, 1),
        head("tags", Reads::Tokens, Output::Logits, 5),
    ]
}

/// The model's encoder with its biases and scales drawn too, and the same as plain data.
fn encoders(architecture: &str, activation: Activation, config: &Value) -> Result<(Pretrained, Encoder)> {
    let mut model = random(&Registry::default(), architecture, config, Key::new(3))?;
    let mut tensors = Vec::new();
    for part in Part::all(model.encoder.layers()) {
        let layout = model.encoder.layout(part);
        let named = |entry: &mtl_backbone::Entry| weights(&entry.name, &entry.shape);
        let drawn: Vec<Weights> = layout.entries().iter().map(named).collect();
        let flat = drawn.iter().flat_map(|weights| weights.values.iter().map(|value| value * 0.5)).collect();
        model.weights.insert(part, mtl_backbone::Flat::F32(flat));
        let halved = |weights: Weights| Weights { values: weights.values.iter().map(|v| v * 0.5).collect(), ..weights };
        tensors.push(drawn.into_iter().map(halved).collect::<Vec<_>>());
    }
    let shape = model.encoder.shape();
    let settings = Settings {
        heads: shape.heads,
        first_position: shape.first_position,
        epsilon: shape.epsilon,
        activation,
        token_types: shape.types > 0,
        projection: shape.width != shape.hidden,
    };
    let mut tensors = tensors.into_iter();
    let words = tensors.next().expect("words").remove(0);
    let encoder = Encoder::ordered(settings, words, tensors.next().expect("embeddings"), tensors.collect())?;
    Ok((model, encoder))
}

fn texts() -> Vec<Encoded> {
    let text = |ids: &[u32], second: usize| Encoded {
        ids: ids.to_vec(),
        segments: (0..ids.len()).map(|at| u32::from(at >= second)).collect(),
        ..Encoded::default()
    };
    vec![text(&[2, 17, 4, 29, 3], 3), text(&[2, 5, 3], 9), text(&[2, 11, 12, 13, 14, 15, 3], 4)]
}

/// The texts as a rectangle: ids, mask and token types.
fn inputs(texts: &[Encoded], types: bool) -> Vec<(&'static str, Array)> {
    let length = texts.iter().map(|text| text.ids.len()).max().expect("texts");
    let rectangle = |of: &dyn Fn(&Encoded, usize) -> f64| {
        let values = texts.iter().flat_map(|text| (0..length).map(|at| of(text, at)).collect::<Vec<_>>()).collect();
        Array::new(&[texts.len(), length], values)
    };
    let number = |list: &[u32], at: usize| list.get(at).map_or(0., |value| f64::from(*value));
    let mut all = vec![
        ("input_ids", rectangle(&|text, at| number(&text.ids, at))),
        ("attention_mask", rectangle(&|text, at| f64::from(u8::from(at < text.ids.len())))),
    ];
    if types {
        all.push(("token_type_ids", rectangle(&|text, at| number(&text.segments, at))));
    }
    all
}

/// Wx + b by candle.
fn mapped(x: &Tensor, map: &Linear) -> Result<Tensor> {
    let weight = Tensor::from_slice(&map.weight.values, map.weight.shape.as_slice(), &Device::Cpu)?;
    let bias = Tensor::from_slice(&map.bias.values, map.bias.shape.as_slice(), &Device::Cpu)?;
    Ok(x.matmul(&weight.t()?)?.broadcast_add(&bias)?)
}

/// What the head answers to packed `states`, row by row.
fn expected(head: &Head, states: &Tensor, tokens: &Packed) -> Result<Vec<Vec<f32>>> {
    let mut x = match head.reads {
        Reads::Mean => pool(states, tokens, Pooling::Mean)?,
        Reads::First => pool(states, tokens, Pooling::Cls)?,
        Reads::Maximum => pool(states, tokens, Pooling::Max)?,
        Reads::Tokens => states.clone(),
    };
    if let Some((hidden, _)) = &head.hidden {
        x = mapped(&x, hidden)?.tanh()?;
    }
    let logits = mapped(&x, &head.map)?;
    Ok(match head.output {
        Output::Logits => logits,
        Output::Softmax => (logits.exp()?.broadcast_div(&logits.exp()?.sum_keepdim(1)?))?,
        Output::Sigmoid => ((logits.neg()?.exp()? + 1.)?.recip())?,
        Output::Rescaled { mean, deviation } => ((logits * deviation)? + mean)?,
    }
    .to_vec2()?)
}

fn decoded(encoder: &Encoder, heads: &[Head]) -> Result<GraphProto> {
    let files = graph("encoder", encoder, heads)?.files(&[], "data", MOST_INLINE)?;
    Ok(ModelProto::decode(files.model.as_slice())?.graph.expect("a graph"))
}

#[test]
fn a_graph_answers_what_its_encoder_and_heads_do() -> Result<()> {
    let (texts, heads) = (texts(), heads());
    let packed = Packed::new(texts.iter());
    for (architecture, activation, config) in models() {
        let (model, encoder) = encoders(architecture, activation, &config)?;
        let mut params = Params::new(&Device::Cpu, DType::F32);
        model.insert("shared", &mut params)?;
        let states = model.encoder.states("shared", &params, &packed, &mut Pass::evaluation())?;
        let types = model.encoder.shape().types > 1;
        let outputs = support::run(&decoded(&encoder, &heads)?, &inputs(&texts, types));
        assert_eq!(outputs.len(), heads.len());
        for head in &heads {
            let (found, expected) = (&outputs[&head.task], expected(head, &states, &packed)?);
            let width = *found.shape.last().expect("outputs");
            let rows: Vec<&[f64]> = found.values.chunks(width).collect();
            // Of a head over tokens, those of padding mean nothing.
            let kept: Vec<&[f64]> = match head.reads {
                Reads::Tokens => {
                    let rows = rows.chunks(found.shape[1]).zip(&texts);
                    rows.flat_map(|(rows, text)| rows[..text.ids.len()].to_vec()).collect()
                }
                _ => rows,
            };
            assert_eq!(kept.len(), expected.len(), "{architecture}, {}", head.task);
            for (found, expected) in kept.iter().zip(&expected) {
                for (found, expected) in found.iter().zip(expected) {
                    let off = (found - f64::from(*expected)).abs();
                    assert!(off < 1e-4, "{architecture}, {activation:?}, {}: {found} for {expected}", head.task);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn roberta_counts_positions_over_the_tokens_alone() -> Result<()> {
    let (_, encoder) = encoders("roberta", Activation::Gelu, &models()[4].2)?;
    let graph = decoded(&encoder, &heads())?;
    let right = inputs(&texts()[..2], false);
    // The second text with its padding in front.
    let left: Vec<(&str, Array)> = (right.iter())
        .map(|(name, array)| {
            let mut values = array.values.clone();
            values[5..].rotate_right(2);
            (*name, Array::new(&array.shape, values))
        })
        .collect();
    let (right, left) = (support::run(&graph, &right), support::run(&graph, &left));
    for task in ["classes", "logits", "value"] {
        for (a, b) in right[task].values.iter().zip(&left[task].values) {
            assert!((a - b).abs() < 1e-9, "{task}: {a} and {b}");
        }
    }
    Ok(())
}

#[test]
fn every_graph_is_well_formed() -> Result<()> {
    for (architecture, activation, config) in models() {
        let (model, encoder) = encoders(architecture, activation, &config)?;
        let graph = decoded(&encoder, &heads())?;
        let names: Vec<&str> = graph.input.iter().map(|input| input.name()).collect();
        let all = ["input_ids", "attention_mask", "token_type_ids"];
        assert_eq!(names, all[..if model.encoder.shape().types > 1 { 3 } else { 2 }], "{architecture}");
        let mut known: BTreeSet<&str> = names.into_iter().collect();
        for constant in &graph.initializer {
            assert!(known.insert(constant.name()), "{} twice", constant.name());
        }
        let mut read = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        for node in &graph.node {
            assert!(nodes.insert(node.name()), "{} twice", node.name());
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{architecture}: {} reads {input} too early", node.name());
                read.insert(input.as_str());
            }
            for output in &node.output {
                assert!(known.insert(output), "{output} twice");
            }
        }
        read.extend(graph.output.iter().map(|output| output.name()));
        let idle: Vec<&&str> = known.difference(&read).collect();
        assert!(idle.is_empty(), "{architecture}: nobody reads {idle:?}");
        let outputs: Vec<&str> = graph.output.iter().map(|output| output.name()).collect();
        assert_eq!(outputs, ["classes", "logits", "deep", "value", "tags"]);
        let dimensions = |at: usize| -> Vec<String> {
            let shape = graph.output[at].r#type.clone().and_then(|t| t.tensor_type?.shape).expect("a shape");
            let shown = |dim: &mtl_onnx::proto::DimensionProto| match dim.dim_value {
                Some(size) => size.to_string(),
                None => dim.dim_param().to_string(),
            };
            shape.dim.iter().map(shown).collect()
        };
        assert_eq!(
            (dimensions(0), dimensions(4)),
            (vec!["batch".to_string(), "3".into()], vec!["batch".to_string(), "sequence".into(), "5".into()],)
        );
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> Result<()> {
    let (_, encoder) = encoders("bert", Activation::Gelu, &models()[0].2)?;
    let refused = |encoder: &Encoder, heads: &[Head], part: &str| {
        let error = graph("encoder", encoder, heads).map(drop).expect_err("refused");
        assert!(format!("{error:#}").contains(part), "{error:#}");
    };
    refused(&encoder, &[], "without heads");
    refused(&Encoder { heads: 3, ..encoder.clone() }, &heads(), "3 attention heads do not divide a width of 8");
    let mut damaged = encoder.clone();
    damaged.layers[1].output.bias.values.pop();
    refused(&damaged, &heads(), "layer 1: tensor `encoder.layer.1.output.dense.bias` has 7 values");
    let narrow = Head { map: linear("narrow", 2, 5), ..heads()[0].clone() };
    refused(&encoder, &[narrow], "task `classes`: tensor `narrow.weight` has shape [2, 5]; [2, 8] was expected");
    let named = Head { task: "input_ids".into(), ..heads()[1].clone() };
    refused(&encoder, &[named], "value called `input_ids` already; rename the task");
    Ok(())
}
