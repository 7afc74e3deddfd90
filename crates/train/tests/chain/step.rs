//! One step: accumulation, clipping, private gradients, the audit, and what stops it.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mtl_backbone::{Flat, GradientBlock, TaskGradient};
use mtl_task::{Progress, TaskBatch, TaskId};
use mtl_train::{Assembled, DevSplits, audit};

use crate::tiny::{assembled, recipe};

const RATE: f64 = 0.125;
const EXACT: [&str; 4] = ["train.precision=f64", "train.dropout=0.0", "train.clip=0.0", "head.dropout=0.0"];
const PLAIN: [&str; 4] =
    ["optimizer.groups.head.scale=1.0", "optimizer.name=sgd", "optimizer.momentum=0.0", "optimizer.weight_decay=0.0"];

fn exact(more: &[&str]) -> Assembled {
    assembled(&recipe(&[&EXACT[..], &PLAIN[..], more].concat()))
}

/// The first `count` training examples of every task.
fn batches(assembled: &Assembled, count: usize) -> Vec<TaskBatch> {
    let batch = |(task, dataset): (usize, &mtl_data::Dataset)| {
        mtl_data::collate(TaskId(task), &dataset.train.examples[..count], true)
    };
    assembled.datasets.iter().enumerate().map(batch).collect()
}

fn values(assembled: &Assembled) -> BTreeMap<String, Vec<f64>> {
    let flat = |tensor: &Tensor| tensor.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>();
    let params = assembled.trainer.model.params.iter();
    params.map(|param| (param.name().to_string(), flat(param.tensor()).expect("values"))).collect()
}

fn step(assembled: &mut Assembled, batches: &[TaskBatch]) -> mtl_train::StepReport {
    let progress = Progress { step: 0, of: 4 };
    assembled.trainer.step(&[batches.to_vec()], progress, RATE, &DevSplits::none()).expect("a step")
}

/// What a step of rate [`RATE`] took, divided by the rate: the gradient.
fn taken(before: &BTreeMap<String, Vec<f64>>, after: &BTreeMap<String, Vec<f64>>) -> BTreeMap<String, Vec<f64>> {
    let difference = |name: &String, values: &Vec<f64>| {
        values.iter().zip(&after[name]).map(|(before, after)| (before - after) / RATE).collect()
    };
    before.iter().map(|(name, values)| (name.clone(), difference(name, values))).collect()
}

fn norm<'a>(values: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    values.flatten().map(|value| value * value).sum::<f64>().sqrt()
}

#[test]
fn accumulation_is_the_gradient_of_the_whole_window() {
    for rule in ["equal", "nash", "famo", "graddrop"] {
        let rule = format!("weighting.rule={rule}");
        let mut whole = exact(&[&rule, "train.accumulate=1"]);
        // Sentences of unlike length: the mean over a window's words is no mean of its pieces' means.
        let window = batches(&whole, 7);
        let expected = step(&mut whole, &window);
        for accumulate in [2, 3, 7, 20] {
            let mut pieces = exact(&[&rule, &format!("train.accumulate={accumulate}")]);
            let found = step(&mut pieces, &window);
            for (found, expected) in found.losses.iter().zip(&expected.losses) {
                assert!((found - expected).abs() < 1e-12, "{rule}, {accumulate}: {found} {expected}");
            }
            for (found, expected) in found.weights.iter().zip(&expected.weights) {
                assert!((found - expected).abs() < 1e-9, "{rule}, {accumulate}: {found} {expected}");
            }
            let (found, expected) = (values(&pieces), values(&whole));
            for (name, expected) in &expected {
                for (found, expected) in found[name].iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-9, "{rule}, {accumulate}, {name}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn the_combined_gradient_is_clipped_as_a_whole() {
    let moved = |clip: f64| {
        let mut model = exact(&["weighting.rule=equal", &format!("train.clip={clip}")]);
        let (window, before) = (batches(&model, 6), values(&model));
        let report = step(&mut model, &window);
        (report.gradient_norm, taken(&before, &values(&model)))
    };
    let (length, free) = moved(0.);
    assert!((norm(free.values()) / length - 1.).abs() < 1e-9, "{} {length}", norm(free.values()));
    let (again, clipped) = moved(length / 4.);
    assert_eq!(again, length, "the norm is told as it was before");
    assert!((norm(clipped.values()) / (length / 4.) - 1.).abs() < 1e-9);
    for (name, values) in &free {
        for (free, clipped) in values.iter().zip(&clipped[name]) {
            assert!((free / 4. - clipped).abs() < 1e-9, "{name}: all parts keep their proportions");
        }
    }
    let (_, loose) = moved(length * 2.);
    assert!((norm(loose.values()) / length - 1.).abs() < 1e-9, "a bound that is not met changes nothing");
}

/// What each task's head was moved by, as a multiple of its own gradient, and the weights on the shared parameters.
fn private(rule: &str, policy: &str) -> (Vec<f64>, Vec<f64>) {
    let set = [format!("weighting.rule={rule}"), format!("weighting.private={policy}")];
    let mut model = exact(&[&set[0], &set[1]]);
    let (window, before) = (batches(&model, 6), values(&model));
    let rows = model.trainer.gradients(&window).expect("gradients");
    let report = step(&mut model, &window);
    let taken = taken(&before, &values(&model));
    let multiple = |(task, row): (usize, &TaskGradient)| {
        let names = model.trainer.model.head(TaskId(task));
        let (mut along, mut square) = (0., 0.);
        for name in &names {
            let Some(segment) = row.0.get(name) else { panic!("no gradient of {name}") };
            for (at, moved) in taken[name].iter().enumerate() {
                along += moved * segment.values().at(at);
                square += segment.values().at(at).powi(2);
            }
        }
        along / square
    };
    (rows.iter().enumerate().map(multiple).collect(), report.weights)
}

#[test]
fn heads_follow_the_private_policy() {
    let near = |found: f64, expected: f64| assert!((found / expected - 1.).abs() < 1e-6, "{found} {expected}");
    for policy in ["auto", "own"] {
        private("nash", policy).0.into_iter().for_each(|multiple| near(multiple, 1.));
    }
    let (weighted, shared) = private("nash", "weighted");
    // The authors' weights are those before the direction is clipped to its norm.
    let clip = shared[0] / weighted[0];
    assert!(clip < 1., "{clip}");
    weighted.iter().zip(&shared).for_each(|(multiple, weight)| near(multiple * clip, *weight));
    let (normalised, _) = private("nash", "normalised");
    near(normalised.iter().sum(), 3.);
    normalised.iter().zip(&weighted).for_each(|(a, b)| near(a / normalised[0], b / weighted[0]));
    // A rule over losses weighs the heads too, unless they are to be left alone.
    let (multiples, weights) = private("scale-invariant", "auto");
    multiples.into_iter().zip(weights).for_each(|(multiple, weight)| near(multiple, weight));
    private("scale-invariant", "own").0.into_iter().for_each(|multiple| near(multiple, 1.));
}

#[test]
fn the_audit_names_parameters_without_a_gradient() {
    let model = exact(&[]);
    let rows = model.trainer.gradients(&batches(&model, 6)).expect("gradients");
    let zero = audit(&model.trainer.model, &rows).expect("all have a gradient");
    assert!(zero.is_empty(), "{zero:?}");

    let without = |name: &str| {
        let mut rows = rows.clone();
        rows.iter_mut().for_each(|row| drop(row.0.remove(name)));
        rows
    };
    for name in ["task.topic/head.weight", "shared/layer.0", "shared/words"] {
        let error = audit(&model.trainer.model, &without(name)).expect_err(name).to_string();
        assert!(error.contains(&format!("no gradient: {name}")) && error.contains("before step 0"), "{error}");
    }
    let changed = |name: &str, value: f64| {
        let mut rows = rows.clone();
        for segment in rows.iter_mut().filter_map(|row| row.0.get_mut(name)) {
            let length = segment.values().len();
            *segment = GradientBlock::Dense(Flat::F64(vec![value; length]));
        }
        rows
    };
    let error = audit(&model.trainer.model, &changed("task.mood/head.bias", f64::NAN)).expect_err("NaN").to_string();
    assert!(error.contains("not finite: task.mood/head.bias"), "{error}");
    let zero = audit(&model.trainer.model, &changed("shared/layer.0", 0.)).expect("zeros are listed, not refused");
    assert_eq!(zero, ["shared/layer.0"]);
}

#[test]
fn a_loss_that_is_no_number_stops_training_with_step_and_task() {
    for rule in ["equal", "nash", "graddrop"] {
        let mut model = exact(&[&format!("weighting.rule={rule}")]);
        let window = batches(&model, 4);
        let param = model.trainer.model.params.get("task.mood/head.bias").expect("a bias").clone();
        param.var().set(&Tensor::new(&[f64::NAN], param.tensor().device()).expect("a tensor")).expect("set");
        let progress = Progress { step: 3, of: 4 };
        let error = model.trainer.step(&[window], progress, RATE, &DevSplits::none()).expect_err("NaN").to_string();
        assert!(error.contains("step 3") && error.contains("`mood`") && error.contains("NaN"), "{error}");
    }
}
