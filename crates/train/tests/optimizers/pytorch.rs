//! The optimizers against PyTorch's on a hundred gradients (`fixtures/make.py`), and what PyTorch has no word for:
//! blends, masks, saved states.

use candle_core::{DType, Device, Tensor};
use mtl_backbone::{Flat, GradientBlock, Param, Params, SparseRows};
use mtl_sharing::Bits;
use mtl_task::Registry;
use mtl_train::optim::{Optimizer, OptimizerKind, Pace, WeightedSum};
use serde_json::{Value, json};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/optimizers.json")).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

pub(crate) fn parameter(values: &[f32], decay: bool) -> Param {
    let mut params = Params::new(&Device::Cpu, DType::F32);
    params
        .insert_tensor("shared/v", &Tensor::new(values, &Device::Cpu).expect("a tensor"), decay, true)
        .expect("inserted")
}

fn values(param: &Param) -> Vec<f32> {
    param.tensor().to_vec1().expect("values")
}

pub(crate) fn built(name: &str, settings: &Value) -> Box<dyn Optimizer> {
    let registry = Registry::<OptimizerKind>::default();
    let entry = registry.find(name).expect("known");
    let mut all = (entry.defaults)();
    settings.as_object().expect("an object").iter().for_each(|(key, value)| all[key] = value.clone());
    (entry.build)(&all).expect("valid")
}

pub(crate) fn dense(values: &[f32]) -> GradientBlock {
    GradientBlock::Dense(Flat::F32(values.to_vec()))
}

#[test]
fn a_hundred_steps_are_pytorchs() {
    let fixture = fixture();
    for (name, case) in fixture["cases"].as_object().expect("cases") {
        let theirs = &case["settings"];
        let mut settings = json!({ "weight_decay": theirs["weight_decay"].as_f64().unwrap_or(0.) });
        let kind = if name.starts_with("adamw") { "adamw" } else { "sgd" };
        match kind {
            "adamw" => {
                settings["beta1"] = json!(theirs["betas"][0].as_f64().unwrap_or(0.9));
                settings["beta2"] = json!(theirs["betas"][1].as_f64().unwrap_or(0.999));
                settings["epsilon"] = json!(theirs["eps"].as_f64().unwrap_or(1e-8));
            }
            _ => settings["momentum"] = json!(theirs["momentum"].as_f64().unwrap_or(0.)),
        }
        let rate = theirs["lr"].as_f64().expect("a rate");
        let mut optimizer = built(kind, &settings);
        let param = parameter(&numbers(&fixture["start"]), true);
        let mut compared = 0;
        for (step, gradient) in fixture["gradients"].as_array().expect("gradients").iter().enumerate() {
            // Halves and doubles are exact, so the blend adds up to the gradient to the bit.
            let quarter: Vec<f32> = numbers(gradient).iter().map(|value| value * 0.25).collect();
            let half: Vec<f32> = numbers(gradient).iter().map(|value| value * 0.5).collect();
            let (quarter, half) = (dense(&quarter), dense(&half));
            optimizer.step(&param, &WeightedSum(vec![(2., &quarter), (1., &half)]), Pace::of(rate)).expect("stepped");
            let Some(expected) = case["after"].get((step + 1).to_string()) else { continue };
            compared += 1;
            for (found, expected) in values(&param).iter().zip(numbers(expected)) {
                let error = (found - expected).abs();
                assert!(error <= 2e-6 * expected.abs().max(1.), "{name}, step {}: {found}, {expected}", step + 1);
            }
        }
        assert_eq!(compared, 6, "{name}");
    }
}

#[test]
fn biases_and_layer_norms_do_not_decay() {
    for entry in &Registry::<OptimizerKind>::default() {
        let mut optimizer = built(entry.name, &json!({ "weight_decay": 0.5 }));
        let (weight, bias) = (parameter(&[1., 2.], true), parameter(&[1., 2.], false));
        let zero = dense(&[0., 0.]);
        optimizer.step(&weight, &WeightedSum(vec![(1., &zero)]), Pace::of(0.1)).expect("stepped");
        built(entry.name, &json!({ "weight_decay": 0.5 }))
            .step(&bias, &WeightedSum(vec![(1., &zero)]), Pace::of(0.1))
            .expect("stepped");
        assert_eq!(values(&bias), [1., 2.], "{}", entry.name);
        assert_eq!(values(&weight), [0.95, 1.9], "{}", entry.name);
    }
}

#[test]
fn what_is_masked_feels_neither_gradient_nor_momentum_nor_decay() {
    for entry in &Registry::<OptimizerKind>::default() {
        let mut optimizer = built(entry.name, &json!({ "weight_decay": 0.1 }));
        let param = parameter(&[1., 2., 3.], true);
        let gradient = dense(&[1., 1., 1.]);
        optimizer.step(&param, &WeightedSum(vec![(1., &gradient)]), Pace::of(0.1)).expect("stepped");
        let before = values(&param);
        let mask = Bits::from_fn(3, |at| at == 0);
        for _ in 0..3 {
            optimizer
                .step(&param, &WeightedSum(vec![(1., &gradient)]), Pace { mask: Some(&mask), ..Pace::of(0.1) })
                .expect("stepped");
        }
        let after = values(&param);
        assert_ne!(after[0], before[0], "{}", entry.name);
        assert_eq!(after[1..], before[1..], "{}", entry.name);
    }
}

#[test]
fn touched_rows_are_a_dense_gradient_with_zeros() {
    for entry in &Registry::<OptimizerKind>::default() {
        let rows = GradientBlock::Rows(SparseRows { width: 2, ids: vec![1], rows: Flat::F32(vec![3., -4.]) });
        let whole = dense(&[0., 0., 3., -4., 0., 0.]);
        let stepped = |gradients: [&GradientBlock; 3]| {
            let (mut optimizer, param) = (built(entry.name, &json!({})), parameter(&[1., 2., 3., 4., 5., 6.], true));
            for gradient in gradients {
                optimizer.step(&param, &WeightedSum(vec![(0.5, gradient)]), Pace::of(0.1)).expect("stepped");
            }
            values(&param)
        };
        assert_eq!(stepped([&rows, &rows, &rows]), stepped([&whole, &whole, &whole]), "{}", entry.name);
    }
}

#[test]
fn a_saved_state_goes_on_bit_for_bit_and_a_reset_forgets() {
    let fixture = fixture();
    let gradients: Vec<GradientBlock> =
        fixture["gradients"].as_array().expect("gradients")[..6].iter().map(|g| dense(&numbers(g))).collect();
    for entry in &Registry::<OptimizerKind>::default() {
        let start = numbers(&fixture["start"]);
        let step = |optimizer: &mut Box<dyn Optimizer>, param: &Param, from: usize, to: usize| {
            for gradient in &gradients[from..to] {
                optimizer.step(param, &WeightedSum(vec![(1., gradient)]), Pace::of(0.01)).expect("stepped");
            }
        };
        let (mut whole, param) = (built(entry.name, &json!({})), parameter(&start, true));
        step(&mut whole, &param, 0, 3);
        let (saved, there) = (whole.state().expect("a state"), values(&param));
        step(&mut whole, &param, 3, 6);
        let (mut again, resumed) = (built(entry.name, &json!({})), parameter(&there, true));
        again.restore(&saved).expect("restored");
        step(&mut again, &resumed, 3, 6);
        assert_eq!(values(&resumed), values(&param), "{}", entry.name);
        again.reset();
        assert!(again.state().expect("a state").is_empty(), "{}", entry.name);
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    for (name, key, value) in [
        ("adamw", "beta1", json!(1.0)),
        ("adamw", "beta2", json!(-0.1)),
        ("adamw", "epsilon", json!(-1e-8)),
        ("adamw", "rate", json!(-1.0)),
        ("adamw", "weight_decay", json!(-1.0)),
        ("sgd", "rate", json!(-1.0)),
        ("sgd", "momentum", json!(-0.1)),
        ("sgd", "momentum", json!(1.0)),
        ("sgd", "weight_decay", json!(-1.0)),
    ] {
        let registry = Registry::<OptimizerKind>::default();
        let entry = registry.find(name).expect("known");
        let mut settings = (entry.defaults)();
        settings[key] = value;
        for refusal in [(entry.check)(&settings).err(), (entry.build)(&settings).err()] {
            let error = refusal.map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(&format!("`{key}`")) && error.contains("found"), "{error}");
        }
    }
    // What is at the end of its range is within it.
    for (name, settings) in [
        ("adamw", json!({ "beta1": 0., "beta2": 0., "epsilon": 0., "rate": 0., "weight_decay": 0. })),
        ("sgd", json!({ "momentum": 0., "rate": 0., "weight_decay": 0. })),
    ] {
        built(name, &settings);
    }
}

#[test]
fn what_a_section_does_not_know_is_refused() {
    for entry in &Registry::<OptimizerKind>::default() {
        let mut settings = (entry.defaults)();
        settings["warp"] = json!(1);
        let error = format!("{:#}", (entry.check)(&settings).expect_err("an unknown key"));
        assert!(error.contains("[optimizer]") && error.contains("warp"), "{error}");
    }
}
