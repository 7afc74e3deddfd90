//! The fixture in f64 and steps by hand: gradients, penalties, disturbances and differences.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Flat, Pass, TaskGradient};
use mtl_sharing::Model;
use mtl_task::TaskId;
use mtl_task::rng::Key;
use serde_json::Value;

use super::{build, texts, tiny};

pub(crate) fn try_model(strategy: &str, section: Value, count: usize, dtype: DType) -> anyhow::Result<Model> {
    build(strategy, &section, &tiny(5), count, dtype)
}

pub(crate) fn model(strategy: &str, section: Value, count: usize) -> Model {
    try_model(strategy, section, count, DType::F64).expect("valid settings")
}

/// The gradient of one task's loss.
pub(crate) fn row(model: &Model, task: usize) -> Result<TaskGradient> {
    let mut pass = Pass::training(Key::new(1).with(task as u64));
    let value = super::loss(model, TaskId(task), &mut pass).map_err(candle_core::Error::msg)?;
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
    let logits = model.logits(TaskId(task), &texts(TaskId(task)), &mut Pass::evaluation())?;
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
