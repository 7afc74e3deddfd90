//! What the tests of the parameter-efficient strategies run on: an encoder of two layers with dropout at will, two tasks
//! that read texts, and every section with the parameters that it adds.

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Flat, Param, Pass, Pretrained, TaskGradient, random};
use mtl_sharing::{HeadSettings, Model, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, Reads, TaskId};
use serde_json::{Value, json};

/// Layers, width, feed-forward width, positions and heads of the tiny encoder.
pub(crate) const L: usize = 2;
pub(crate) const H: usize = 12;
pub(crate) const I: usize = 20;
pub(crate) const TASKS: usize = 2;

pub(crate) fn tiny(dropout: f64) -> Pretrained {
    let config = json!({
        "vocab_size": 23, "hidden_size": H, "num_hidden_layers": L, "num_attention_heads": 3, "intermediate_size": I,
        "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.3,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    });
    random(&Default::default(), "bert", &config, Key::new(5)).expect("a valid configuration")
}

pub(crate) fn texts() -> Packed {
    let text = |ids: &[u32], segments: &[u32]| Encoded {
        ids: ids.to_vec(),
        segments: segments.to_vec(),
        ..Encoded::default()
    };
    Packed::new([&text(&[1, 5, 7, 5, 2], &[0, 0, 0, 1, 1]), &text(&[1, 2], &[0, 0]), &text(&[1, 22, 2], &[0, 0, 0])])
}

pub(crate) fn model_over(pretrained: &Pretrained, strategy: &str, section: &Value, dtype: DType, seed: u64) -> Model {
    let tasks = ["a", "b"].map(|name| TaskShape { name: name.into(), outputs: 3, reads: Reads::Text });
    let head = HeadSettings { dropout: 0., ..HeadSettings::default() };
    Model::build(
        mtl_sharing::find(strategy).expect("a strategy"),
        section,
        &head,
        pretrained,
        tasks.to_vec(),
        Key::new(seed),
        &Device::Cpu,
        dtype,
    )
    .unwrap_or_else(|error| panic!("{strategy} {section}: {error:#}"))
}

pub(crate) fn model(strategy: &str, section: &Value) -> Model {
    model_over(&tiny(0.), strategy, section, DType::F64, 1)
}

/// Moves every trainable parameter by random numbers, so that nothing is zero.
pub(crate) fn shake(model: &Model, deviation: f64) -> Result<()> {
    for param in model.params.iter().filter(|param| param.trainable()) {
        let mut stream = Key::new(77).named(param.name()).stream();
        let noise: Vec<f64> = (0..param.layout().len()).map(|_| stream.normal() * deviation).collect();
        let noise = Tensor::from_vec(noise, param.tensor().shape(), &Device::Cpu)?.to_dtype(model.params.dtype())?;
        param.var().set(&(param.tensor().detach() + noise)?)?;
    }
    Ok(())
}

/// A loss in which every logit has its own weight.
pub(crate) fn loss(model: &Model, task: TaskId, pass: &mut Pass) -> Result<Tensor> {
    let logits = model.logits(task, &texts(), pass)?;
    let mut stream = Key::new(9).with(task.0 as u64).stream();
    let weights: Vec<f64> = (0..logits.elem_count()).map(|_| stream.normal()).collect();
    (&logits * Tensor::from_vec(weights, logits.shape(), &Device::Cpu)?.to_dtype(logits.dtype())?)?.sum_all()
}

pub(crate) fn row(model: &Model, task: TaskId) -> Result<TaskGradient> {
    let mut pass = Pass::training(Key::new(11));
    let loss = loss(model, task, &mut pass)?;
    pass.backward(&loss, &model.params)
}

pub(crate) fn states(model: &Model, task: TaskId) -> Result<Vec<Vec<f64>>> {
    model.sharing.represent(task, &texts(), &mut Pass::evaluation())?.to_dtype(DType::F64)?.to_vec2()
}

pub(crate) fn element(param: &Param, index: usize, offset: f64) -> Result<()> {
    let Flat::F64(mut values) = Flat::of(param.tensor())? else { panic!("parameters are f64 here") };
    values[index] += offset;
    param.var().set(&Tensor::from_vec(values, param.tensor().shape(), &Device::Cpu)?)
}

/// Every section of the strategies here, and how many parameters it adds to the encoder's and the heads'.
pub(crate) fn sections() -> Vec<(&'static str, Value, usize)> {
    vec![
        ("bitfit", json!({}), TASKS * (L * (7 * H + I) + H)),
        ("bitfit", json!({ "biases": "query-and-intermediate", "share": true }), L * (H + I)),
        ("bitfit", json!({ "train_base": true }), TASKS * (L * (7 * H + I) + H)),
        ("lora", json!({ "rank": 3 }), TASKS * L * 3 * 4 * H),
        ("lora", json!({ "rank": 2, "targets": ["output", "key"], "share": true }), L * 2 * (2 * H + H + I)),
        ("lora", json!({ "rank": 2, "train_base": true }), TASKS * L * 2 * 4 * H),
        ("mtl-lora", json!({ "rank": 3, "temperature": 0.7 }), L * 4 * (3 * H + 3 * H * 3) + TASKS * L * 4 * (9 + 3)),
        (
            "mtl-lora",
            json!({ "rank": 2, "ups": 2, "targets": ["intermediate"], "train_base": true, "temperature": 0.7 }),
            L * (2 * H + 2 * I * 2) + TASKS * L * (4 + 2),
        ),
        ("task-norm", json!({}), TASKS * (4 * H * L + 3 * H)),
        ("task-norm", json!({ "embedding": "none", "train_base": false }), TASKS * (4 * H * L + 2 * H)),
        ("task-norm", json!({ "norms": false, "embedding": "all" }), TASKS * H),
        ("task-norm", json!({ "embedding": "all", "train_base": false }), TASKS * (4 * H * L + 3 * H)),
        ("adapter", json!({ "width": 5 }), TASKS * (L * 2 * (2 * H * 5 + 5 + H) + 4 * H * L + 2 * H)),
        ("adapter", json!({ "placement": "pfeiffer", "width": 4 }), TASKS * L * (2 * H * 4 + 4 + H)),
        (
            "adapter",
            json!({ "placement": "pfeiffer", "width": 4, "share": true, "norms": "own" }),
            L * (2 * H * 4 + 4 + H) + 4 * H * L + 2 * H,
        ),
        ("adapter", json!({ "width": 3, "share": true, "train_base": true }), L * 2 * (2 * H * 3 + 3 + H)),
        ("pal", json!({ "width": 6, "heads": 2 }), TASKS * (2 * H * 6 + 6 + H + 3 * L * (36 + 6))),
        ("pal", json!({ "width": 4, "heads": 1, "train_base": false }), TASKS * (2 * H * 4 + 4 + H + 3 * L * (16 + 4))),
        ("prefix", json!({ "length": 3 }), TASKS * 2 * L * 3 * H),
        (
            "prefix",
            json!({ "length": 2, "reparameterise": 5, "train_base": true }),
            TASKS * (2 * H + 5 * (H + 1) + 2 * L * H * (5 + 1)),
        ),
        ("prefix", json!({ "length": 2, "share": true }), 2 * L * 2 * H),
        // Its private LayerNorms are ranges of a vector like those of the strategies above.
        ("hard", json!({ "private_norms": true }), TASKS * L * 4 * H),
    ]
}
