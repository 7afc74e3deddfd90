//! The encoders against PyTorch: what transformers computes on the tiny models of `fixtures/make.py`.
//!
//! A gradient may be off by 1e-4 of its own norm, or of a thousandth of its layer's norm where its own is smaller:
//! the key bias has a gradient of exactly zero in theory, and rounding in practice.
#![allow(clippy::print_stdout, reason = "what is skipped is said aloud")]

mod device;

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::checkpoint::{Checkpoint, NamedTensor, read_safetensors};
use mtl_backbone::kernel::ProductPrecision;
use mtl_backbone::{
    Architecture, Encoder, Family, Flat, Implementation, Params, Pass, Pooling, Pretrained, TaskGradient, pool,
    pretrained,
};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed};
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const FOLDERS: [&str; 5] = ["bert", "bert-legacy", "distilbert", "electra", "roberta"];
const PATHS: [Implementation; 2] = [Implementation::Reference, Implementation::Auto];

/// A fixture's model, its parameters, and what PyTorch makes of them.
struct Fixture {
    encoder: Family,
    params: Params,
    expected: Value,
    tensors: BTreeMap<String, NamedTensor>,
}

/// What one forward gives, and the gradient of its loss.
struct Answer {
    states: Vec<f32>,
    logits: Vec<f32>,
    loss: f64,
    row: TaskGradient,
}

impl Fixture {
    fn read(name: &str, path: Implementation, device: &Device) -> Self {
        let folder = FilePath::new(FIXTURES).join(name);
        let checkpoint = Checkpoint::read(&folder).expect("a sound folder");
        let model = pretrained(&Default::default(), &checkpoint).expect("a known architecture");
        let (expected, tensors) = expectations(&folder);
        let mut params = params(&model, device).expect("a valid layout");
        let weight = Tensor::new(numbers::<Vec<f32>>(&expected["head"]["weight"]), &Device::Cpu).expect("a matrix");
        let bias = Tensor::new(numbers::<f32>(&expected["head"]["bias"]), &Device::Cpu).expect("a vector");
        params.insert_tensor("task.x/head.weight", &weight, true, true).expect("a new name");
        params.insert_tensor("task.x/head.bias", &bias, false, true).expect("a new name");
        Self { encoder: model.encoder.with_path(path), params, expected, tensors }
    }

    fn run(&self, label: &str) -> Result<Answer> {
        let batch = &self.expected["batches"][label];
        let (tokens, labels) = (tokens(batch), numbers::<u32>(&batch["labels"]));
        let mut pass = Pass::training(Key::new(1));
        let param = |name: &str| self.params.get(name).expect("inserted");
        let states = self.encoder.states("shared", &self.params, &tokens, &mut pass)?;
        let (weight, bias) = (param("task.x/head.weight").tensor(), param("task.x/head.bias").tensor());
        let pooled = pool(&states, &tokens, Pooling::Mean)?;
        let logits = pooled.matmul(&weight.t()?)?.broadcast_add(bias)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &Tensor::new(labels, self.params.device())?)?;
        Ok(Answer {
            states: states.flatten_all()?.to_vec1()?,
            logits: logits.flatten_all()?.to_vec1()?,
            loss: f64::from(loss.to_scalar::<f32>()?),
            row: pass.backward(&loss, &self.params)?,
        })
    }
}

fn numbers<T: serde::de::DeserializeOwned>(list: &Value) -> Vec<T> {
    serde_json::from_value(list.clone()).expect("a list of numbers, or of lists of numbers")
}

fn tokens(batch: &Value) -> Packed {
    let texts = |(ids, segments)| Encoded { ids, segments, ..Encoded::default() };
    let (ids, segments) = (numbers::<Vec<u32>>(&batch["ids"]), numbers::<Vec<u32>>(&batch["segments"]));
    Packed::new(&ids.into_iter().zip(segments).map(texts).collect::<Vec<Encoded>>())
}

fn params(model: &Pretrained, device: &Device) -> Result<Params> {
    let mut params = Params::new(device, DType::F32);
    model.insert("shared", &mut params)?;
    Ok(params)
}

fn expectations(folder: &FilePath) -> (Value, BTreeMap<String, NamedTensor>) {
    let text = std::fs::read_to_string(folder.join("expected.json")).expect("readable");
    let tensors = read_safetensors(&folder.join("expected.safetensors")).expect("sound");
    (serde_json::from_str(&text).expect("JSON"), tensors)
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f32>>())
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
}

fn single(flat: &Flat) -> &[f32] {
    match flat {
        Flat::F32(values) => values,
        Flat::F64(_) => unreachable!("parameters are f32 here"),
    }
}

/// Runs `test` on every model through every implementation of the ops, and on the GPU that `MTL_DEVICE` names.
fn everywhere(test: impl Fn(&str, Fixture) -> Result<()>) -> Result<()> {
    let gpu = device::gpu()?;
    for name in FOLDERS {
        for path in PATHS {
            test(&format!("{name}, {path:?}"), Fixture::read(name, path, &Device::Cpu))?;
        }
        if let Some(gpu) = &gpu {
            test(&format!("{name}, {:?}", gpu.location()), Fixture::read(name, Implementation::Auto, gpu))?;
        }
    }
    Ok(())
}

#[test]
fn every_architecture_has_a_fixture() {
    for architecture in &mtl_task::Registry::<Architecture>::default() {
        assert!(FOLDERS.contains(&architecture.name), "no fixture for {}", architecture.name);
    }
}

#[test]
fn states_logits_and_losses_are_pytorchs() -> Result<()> {
    everywhere(|name, fixture| {
        for label in ["ragged", "full"] {
            let answer = fixture.run(label)?;
            let states = furthest(&answer.states, &fixture.tensors[&format!("{label}.states")].data);
            assert!(states <= 1e-4, "{name}, {label}: states differ by {states:e}");
            let batch = &fixture.expected["batches"][label];
            let logits = furthest(&answer.logits, &numbers::<Vec<f32>>(&batch["logits"]).concat());
            assert!(logits <= 1e-4, "{name}, {label}: logits differ by {logits:e}");
            let loss = batch["loss"].as_f64().expect("a number");
            assert!((answer.loss - loss).abs() <= 1e-4, "{name}, {label}: loss {} for {loss}", answer.loss);
        }
        Ok(())
    })
}

/// Holds every parameter's gradient to PyTorch's: off by at most `tolerance` of its norm, or of `floor` times its layer's.
fn gradients_hold(name: &str, fixture: &Fixture, tolerance: f64, floor: f64) -> Result<()> {
    for label in ["ragged", "full"] {
        let answer = fixture.run(label)?;
        for param in fixture.params.iter() {
            let segment = answer.row.0.get(param.name()).unwrap_or_else(|| panic!("{} got none", param.name()));
            let gradient = segment.dense(param.layout().len())?;
            let expected = |entry: &str| &fixture.tensors[&format!("{label}.gradient.{entry}")].data;
            let entries = param.layout().entries();
            let layer = entries.iter().map(|entry| norm(expected(&entry.name)).powi(2)).sum::<f64>().sqrt();
            assert!(layer > 0., "{name}: a fixture that asks nothing of {}", param.name());
            for entry in entries {
                let expected = expected(&entry.name);
                let error = distance(&single(&gradient)[entry.range.clone()], expected);
                let bound = tolerance * norm(expected).max(floor * layer);
                assert!(error <= bound, "{name}, {label}, {}: off by {error:e}, bound {bound:e}", entry.name);
            }
        }
    }
    Ok(())
}

#[test]
fn the_gradient_of_every_parameter_is_pytorchs() -> Result<()> {
    everywhere(|name, fixture| gradients_hold(name, &fixture, 1e-4, 1e-3))
}

#[test]
fn products_in_bf16_keep_the_gradients_near_pytorchs() -> Result<()> {
    let mut ways = vec![(Implementation::Reference, Device::Cpu)];
    match ProductPrecision::Bf16.is_available() {
        true => ways.push((Implementation::Auto, Device::Cpu)),
        false => println!("skipped: the fused kernel in bf16, for this CPU has no AVX512_BF16"),
    }
    ways.extend(device::gpu()?.map(|gpu| (Implementation::Reference, gpu)));
    for name in FOLDERS {
        for (path, device) in &ways {
            let mut fixture = Fixture::read(name, *path, device);
            fixture.encoder = fixture.encoder.with_precision(ProductPrecision::Bf16)?;
            // What rounding leaves of the key bias's vanishing gradient is measured against its layer's.
            gradients_hold(&format!("{name}, {path:?}, {:?}", device.location()), &fixture, 5e-2, 2e-2)?;
        }
    }
    Ok(())
}

#[test]
fn ten_steps_of_training_stay_on_pytorchs_course() -> Result<()> {
    everywhere(|name, fixture| {
        let losses: Vec<f64> = numbers(&fixture.expected["steps"]["losses"]);
        let mut moments: BTreeMap<String, [Vec<f32>; 2]> = BTreeMap::new();
        for (step, expected) in losses.iter().enumerate() {
            let answer = fixture.run("ragged")?;
            assert!((answer.loss - expected).abs() <= 1e-4, "{name}, step {step}: {} for {expected}", answer.loss);
            if step + 1 < losses.len() {
                adamw(&fixture.params, &answer.row, &mut moments, step as i32 + 1)?;
            }
        }
        for param in fixture.params.iter() {
            let trained = Flat::of(param.tensor())?;
            for entry in param.layout().entries() {
                let expected = &fixture.tensors[&format!("trained.{}", entry.name)].data;
                let off = distance(&single(&trained)[entry.range.clone()], expected);
                // Adam divides by √v, so where a gradient is all rounding (the key bias) each step is up to the rate.
                let bound = if entry.name.contains("key.bias") || entry.name.contains("k_lin.bias") {
                    2. * 1e-3 * 10. * (expected.len() as f64).sqrt()
                } else {
                    1e-4 * norm(expected)
                };
                assert!(off <= bound, "{name}: {} ends {off:e} away, bound {bound:e}", entry.name);
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs the real weights: cargo xtask fetch --model all-minilm-l6-v2"]
fn the_published_minilm_answers_as_in_pytorch() -> Result<()> {
    let (expected, tensors) = expectations(&FilePath::new(FIXTURES).join("minilm"));
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../models/cache/all-minilm-l6-v2");
    let model = pretrained(&Default::default(), &Checkpoint::read(&folder).expect("fetched")).expect("a BERT");
    let (params, tokens) = (params(&model, &Device::Cpu)?, tokens(&expected["batches"]["texts"]));
    for path in PATHS {
        let encoder = model.encoder.clone().with_path(path);
        let states = encoder.states("shared", &params, &tokens, &mut Pass::evaluation())?.flatten_all()?.to_vec1()?;
        let off = furthest(&states, &tensors["states"].data);
        assert!(off <= 1e-4, "{path:?}: states differ by {off:e}");
    }
    Ok(())
}

/// One AdamW step (Loshchilov and Hutter 2019) with the fixtures' settings, as plainly as it can be written.
fn adamw(params: &Params, row: &TaskGradient, moments: &mut BTreeMap<String, [Vec<f32>; 2]>, step: i32) -> Result<()> {
    let (rate, first, second, epsilon, decay) = (1e-3f32, 0.9f32, 0.999f32, 1e-8f32, 0.01f32);
    for param in params.iter() {
        let length = param.layout().len();
        let gradient = row.0[param.name()].dense(length)?;
        let mut values = single(&Flat::of(param.tensor())?).to_vec();
        let [m, v] = moments.entry(param.name().to_string()).or_insert_with(|| [vec![0.; length], vec![0.; length]]);
        for entry in param.layout().entries() {
            let decay = if entry.decay { decay } else { 0. };
            for at in entry.range.clone() {
                let g = single(&gradient)[at];
                m[at] = first * m[at] + (1. - first) * g;
                v[at] = second * v[at] + (1. - second) * g * g;
                let (m, v) = (m[at] / (1. - first.powi(step)), v[at] / (1. - second.powi(step)));
                values[at] -= rate * (m / (v.sqrt() + epsilon) + decay * values[at]);
            }
        }
        param.var().set(&Tensor::from_vec(values, param.tensor().shape(), params.device())?)?;
    }
    Ok(())
}
