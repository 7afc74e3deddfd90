//! An even smaller encoder, in f64, of a size whose third `single-small` cannot meet; its tasks, and steps by hand.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Flat, Pass, Pretrained, TaskGradient, random};
use mtl_sharing::{HeadSettings, Model, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, Reads, TaskId};
use serde_json::{Value, json};

use super::LAYERS;

pub(crate) fn pretrained() -> Pretrained {
    let config = json!({
        "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": LAYERS, "num_attention_heads": 3,
        "intermediate_size": 20, "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.3,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    });
    random(&Default::default(), "bert", &config, Key::new(5)).expect("a valid configuration")
}

/// `count` tasks, every other one reading tokens.
pub(crate) fn small_tasks(count: usize) -> Vec<TaskShape> {
    let reads = |at: usize| if at.is_multiple_of(2) { Reads::Text } else { Reads::Tokens };
    (0..count).map(|at| TaskShape { name: format!("t{at}"), outputs: 2 + at, reads: reads(at) }).collect()
}

pub(crate) fn try_model(strategy: &str, section: Value, count: usize, dtype: DType) -> anyhow::Result<Model> {
    let head = HeadSettings { dropout: 0., ..HeadSettings::default() };
    Model::build(
        mtl_sharing::find(strategy).expect("a strategy"),
        &section,
        &head,
        &pretrained(),
        small_tasks(count),
        Key::new(3),
        &Device::Cpu,
        dtype,
    )
}

pub(crate) fn model(strategy: &str, section: Value, count: usize) -> Model {
    try_model(strategy, section, count, DType::F64).expect("valid settings")
}

pub(crate) fn texts() -> Packed {
    let text = |ids: &[u32], anchors: &[u32]| Encoded {
        ids: ids.to_vec(),
        segments: vec![0; ids.len()],
        anchors: anchors.to_vec(),
        words: anchors.len(),
    };
    Packed::new([&text(&[1, 5, 7, 5, 2], &[1, 3]), &text(&[1, 2], &[]), &text(&[1, 22, 2], &[1])])
}

/// A loss that every logit enters with a weight of its own.
pub(crate) fn loss(model: &Model, task: usize, pass: &mut Pass) -> Result<Tensor> {
    let logits = model.logits(TaskId(task), &texts(), pass)?;
    let mut stream = Key::new(9).with(task as u64).stream();
    let weights: Vec<f64> = (0..logits.elem_count()).map(|_| stream.normal()).collect();
    let weights = Tensor::from_vec(weights, logits.shape(), &Device::Cpu)?.to_dtype(logits.dtype())?;
    ((&logits * weights)?.sum_all()? + (logits.sqr()?.sum_all()? * 0.5)?)?.affine(0.1, 0.)
}

/// The gradient of one task's loss.
pub(crate) fn row(model: &Model, task: usize) -> Result<TaskGradient> {
    let mut pass = Pass::training(Key::new(1).with(task as u64));
    let value = loss(model, task, &mut pass)?;
    pass.backward(&value, &model.params)
}

/// The gradient of the strategy's penalty, empty if it has none.
pub(crate) fn penalty_row(model: &Model) -> Result<TaskGradient> {
    let mut row = TaskGradient::default();
    if let Some(penalty) = model.sharing.penalty()? {
        mtl_backbone::gather(&model.params, &penalty.backward()?, &mut row)?;
    }
    Ok(row)
}

/// One step of plain SGD.
pub(crate) fn descend(model: &Model, row: &TaskGradient, rate: f64) -> Result<()> {
    for (name, segment) in &row.0 {
        let param = model.params.get(name).expect("a row names parameters");
        let gradient = segment.dense(param.layout().len())?.tensor(&Device::Cpu)?.reshape(param.tensor().shape())?;
        param.var().set(&(param.tensor().detach() - (gradient * rate)?)?)?;
    }
    Ok(())
}

/// One step on the sum of the tasks' losses, scaled by `weight`, and of the penalty.
pub(crate) fn step(model: &Model, weight: f64, rate: f64) -> Result<()> {
    let mut sum = penalty_row(model)?;
    for task in 0..model.tasks.len() {
        let mut row = row(model, task)?;
        row.scale(weight);
        sum.add(row);
    }
    descend(model, &sum, rate)
}

pub(crate) fn logits(model: &Model, task: usize) -> Result<Vec<f64>> {
    let logits = model.logits(TaskId(task), &texts(), &mut Pass::evaluation())?;
    logits.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

pub(crate) fn all_logits(model: &Model) -> Result<Vec<Vec<f64>>> {
    (0..model.tasks.len()).map(|task| logits(model, task)).collect()
}

/// The largest distance between two models' predictions.
pub(crate) fn distance(a: &Model, b: &Model) -> Result<f64> {
    let (a, b) = (all_logits(a)?.concat(), all_logits(b)?.concat());
    assert_eq!(a.len(), b.len());
    Ok(a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0., f64::max))
}

/// Moves every trainable parameter a little, so that nothing stays at a special place.
pub(crate) fn disturb(model: &Model, deviation: f64) -> Result<()> {
    for param in model.params.iter().filter(|param| param.trainable()) {
        let mut stream = Key::new(77).named(param.name()).stream();
        let noise: Vec<f64> = (0..param.layout().len()).map(|_| stream.normal() * deviation).collect();
        let noise = Tensor::from_vec(noise, param.tensor().shape(), &Device::Cpu)?.to_dtype(param.tensor().dtype())?;
        param.var().set(&(param.tensor().detach() + noise)?)?;
    }
    Ok(())
}

pub(crate) fn saved(model: &Model) -> Result<BTreeMap<String, Tensor>> {
    Ok(model.params.tensors()?.into_iter().collect())
}

/// A parameter's values with element `index` moved.
pub(crate) fn nudge(model: &Model, name: &str, index: usize, by: f64) -> Result<()> {
    let param = model.params.get(name).expect("a known parameter");
    let Flat::F64(mut values) = Flat::of(param.tensor())? else { panic!("the tests are in f64") };
    values[index] += by;
    param.var().set(&Tensor::from_vec(values, param.tensor().shape(), &Device::Cpu)?)
}

/// The penalty's gradient at some elements of every parameter that has one, against central differences.
pub(crate) fn agrees_with_finite_differences(model: &Model, tolerance: f64) -> Result<()> {
    let penalty = || model.sharing.penalty()?.expect("a penalty").to_scalar::<f64>();
    let row = penalty_row(model)?;
    assert!(!row.0.is_empty());
    let mut stream = Key::new(13).stream();
    for (name, segment) in &row.0 {
        let length = model.params.get(name).expect("a known parameter").layout().len();
        let gradient = segment.dense(length)?;
        for _ in 0..2 {
            let (index, by) = (stream.below(length), 1e-5);
            nudge(model, name, index, by)?;
            let above = penalty()?;
            nudge(model, name, index, -2. * by)?;
            let numeric = (above - penalty()?) / (2. * by);
            nudge(model, name, index, by)?;
            let exact = gradient.at(index);
            assert!((numeric - exact).abs() < tolerance * (1. + exact.abs()), "{name} {index}: {numeric} {exact}");
        }
    }
    Ok(())
}
