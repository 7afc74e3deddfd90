//! A step is its formula, element by element: in both precisions, over the borders of chunks and tensors, for blends of
//! dense and sparse gradients, under masks.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mtl_backbone::{Flat, GradientBlock, Layout, Param, Params, SparseRows};
use mtl_sharing::Bits;
use mtl_task::rng::{Key, Stream};
use mtl_train::optim::{Pace, WeightedSum};
use serde_json::json;

use crate::pytorch::built;

/// Width of a row of a sparse gradient; no power of two, so that rows lie across the borders of chunks.
const WIDTH: usize = 7;
/// Elements of three tensors in one vector. The second one has three chunks of 2¹⁴.
const SIZES: [usize; 3] = [3 * WIDTH, 5_000 * WIDTH, 11];
/// The first and the last decay.
const DECAYS: [bool; 3] = [true, false, true];

fn length() -> usize {
    SIZES.iter().sum()
}

fn decays(element: usize) -> bool {
    match element {
        _ if element < SIZES[0] => DECAYS[0],
        _ if element < SIZES[0] + SIZES[1] => DECAYS[1],
        _ => DECAYS[2],
    }
}

fn normal(count: usize, stream: &mut Stream) -> Vec<f64> {
    // Rounded to single precision, so that both precisions start alike.
    (0..count).map(|_| f64::from(stream.normal() as f32)).collect()
}

fn flat(values: &[f64], dtype: DType) -> Flat {
    match dtype {
        DType::F32 => Flat::F32(values.iter().map(|&value| value as f32).collect()),
        _ => Flat::F64(values.to_vec()),
    }
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).and_then(|tensor| tensor.to_vec1()).expect("numbers")
}

fn parameter(values: &[f64], dtype: DType) -> Param {
    let tensors = SIZES.iter().zip(DECAYS).enumerate();
    let layout = Layout::new(tensors.map(|(at, (&size, decay))| (format!("t{at}"), vec![size], decay)));
    Params::new(&Device::Cpu, dtype).insert("shared/all", &layout, &flat(values, dtype), true).expect("inserted")
}

/// Dense and sparse gradients with their weights, and their sum.
fn blend(dtype: DType, stream: &mut Stream) -> (Vec<(f64, GradientBlock)>, Vec<f64>) {
    let whole = normal(length(), stream);
    let table = length() / WIDTH;
    // The first rows, rows around the border of the first chunks, and some others; sorted, each once.
    let border = (SIZES[0] + (1 << 14)) / WIDTH;
    let mut ids: Vec<u32> = [0, 2, 3, border - 1, border, border + 1, 2 * border, table - 1].map(|id| id as u32).into();
    ids.extend((0..40).map(|_| stream.below(table) as u32));
    ids.sort_unstable();
    ids.dedup();
    let rows = normal(ids.len() * WIDTH, stream);
    let (first, second) = (0.75, -1.5);
    let mut sum: Vec<f64> = whole.iter().map(|value| first * value).collect();
    for (position, &id) in ids.iter().enumerate() {
        for column in 0..WIDTH {
            sum[id as usize * WIDTH + column] += second * rows[position * WIDTH + column];
        }
    }
    let sparse = SparseRows { width: WIDTH, ids, rows: flat(&rows, dtype) };
    (vec![(first, GradientBlock::Dense(flat(&whole, dtype))), (second, GradientBlock::Rows(sparse))], sum)
}

/// Values and moments of the formulas at the head of `adamw.rs` and `sgd.rs`.
struct Formula {
    values: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Formula {
    fn step(&mut self, name: &str, gradient: &[f64], rate: f64, decay: f64, moved: &dyn Fn(usize) -> bool) {
        self.steps += 1;
        let (beta1, beta2, epsilon, momentum) = (0.8_f64, 0.95_f64, 1e-3, 0.7);
        for (at, &g) in gradient.iter().enumerate().filter(|(at, _)| moved(*at)) {
            let (value, m, v) = (&mut self.values[at], &mut self.first[at], &mut self.second[at]);
            let decay = if decays(at) { decay } else { 0. };
            if name == "sgd" {
                *m = momentum * *m + g + decay * *value;
                *value -= rate * *m;
                continue;
            }
            *m = beta1 * *m + (1. - beta1) * g;
            *v = beta2 * *v + (1. - beta2) * g * g;
            let (unbiased, square) = (*m / (1. - beta1.powi(self.steps)), *v / (1. - beta2.powi(self.steps)));
            *value = (1. - rate * decay) * *value - rate * unbiased / (square.sqrt() + epsilon);
        }
    }
}

fn settings(name: &str) -> serde_json::Value {
    match name {
        "sgd" => json!({ "momentum": 0.7, "weight_decay": 0.1 }),
        _ => json!({ "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1 }),
    }
}

fn compared(what: &str, found: &[f64], expected: &[f64], dtype: DType) {
    let bound = if dtype == DType::F64 { 1e-12 } else { 3e-6 };
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(1.);
        assert!(error <= bound, "{what}, element {at}: {found}, {expected} by the formula");
    }
}

fn check(name: &str, dtype: DType, masked: bool) {
    let what = format!("{name} in {dtype:?}, masked: {masked}");
    let mut stream = Key::new(31).named(name).stream();
    let start = normal(length(), &mut stream);
    let (mut optimizer, param) = (built(name, &settings(name)), parameter(&start, dtype));
    let zeros = vec![0.; length()];
    let mut formula = Formula { values: start, first: zeros.clone(), second: zeros, steps: 0 };
    let mask = Bits::from_fn(length(), |at| at % 3 != 1);
    for step in 0..4 {
        let (terms, sum) = blend(dtype, &mut stream);
        let terms = WeightedSum(terms.iter().map(|(weight, block)| (*weight, block)).collect());
        // The step's own decay goes before the optimizer's.
        let weight_decay = (step == 2).then_some(0.3);
        let rate = 0.05 / f64::from(step + 1);
        let pace = Pace { rate, weight_decay, mask: masked.then_some(&mask) };
        optimizer.step(&param, &terms, pace).expect("stepped");
        formula.step(name, &sum, rate, weight_decay.unwrap_or(0.1), &|at| !masked || at % 3 != 1);
        compared(&format!("{what}, step {step}"), &doubles(param.tensor()), &formula.values, dtype);
    }
    let state: BTreeMap<String, Tensor> = optimizer.state().expect("a state");
    let names: Vec<&str> = state.keys().map(String::as_str).collect();
    if name == "sgd" {
        assert_eq!(names, ["b/shared/all"]);
        compared(&what, &doubles(&state["b/shared/all"]), &formula.first, dtype);
    } else {
        assert_eq!(names, ["m/shared/all", "steps/shared/all", "v/shared/all"]);
        compared(&what, &doubles(&state["m/shared/all"]), &formula.first, dtype);
        compared(&what, &doubles(&state["v/shared/all"]), &formula.second, dtype);
        assert_eq!(doubles(&state["steps/shared/all"]), [4.]);
    }
}

#[test]
fn a_step_is_its_formula_over_chunks_tensors_and_rows() {
    for name in ["adamw", "sgd"] {
        for dtype in [DType::F32, DType::F64] {
            check(name, dtype, false);
            check(name, dtype, true);
        }
    }
}

#[test]
fn gradients_of_another_type_and_parameters_of_none_are_refused() {
    for name in ["adamw", "sgd"] {
        let mut optimizer = built(name, &json!({}));
        let gradient = GradientBlock::Dense(Flat::F64(vec![1.; length()]));
        let terms = WeightedSum(vec![(1., &gradient)]);
        let single = parameter(&vec![1.; length()], DType::F32);
        let error = optimizer.step(&single, &terms, Pace::of(0.1)).expect_err("two types").to_string();
        assert!(error.contains("gradient and parameter differ in type"), "{error}");
        assert_eq!(doubles(single.tensor()), vec![1.; length()], "{name}: nothing moved");
        let single = GradientBlock::Dense(Flat::F32(vec![1.; length()]));
        let double = parameter(&vec![1.; length()], DType::F64);
        let error = built(name, &json!({})).step(&double, &WeightedSum(vec![(1., &single)]), Pace::of(0.1));
        assert!(error.expect_err("two types").to_string().contains("differ in type"), "{name}");
    }
}
