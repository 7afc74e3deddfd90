//! What an optimizer remembers is split, scaled, joined and forgotten, and nothing else of it changes.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mtl_sharing::Moments;
use mtl_train::optim::{Optimizer, Pace, WeightedSum};
use serde_json::json;

use crate::pytorch::{built, dense};

type Remembered = BTreeMap<String, Vec<f64>>;

fn remembered(optimizer: &dyn Optimizer) -> Remembered {
    let double = |tensor: &Tensor| tensor.to_dtype(DType::F64).and_then(|tensor| tensor.to_vec1()).expect("numbers");
    optimizer.state().expect("a state").iter().map(|(name, tensor)| (name.clone(), double(tensor))).collect()
}

/// An optimizer after `steps` steps of the parameters `a` and one of `b`, with binary fractions for moments.
fn stepped(name: &str) -> Box<dyn Optimizer> {
    let settings = match name {
        "sgd" => json!({ "momentum": 0.5 }),
        _ => json!({ "beta1": 0.5, "beta2": 0.75 }),
    };
    let mut optimizer = built(name, &settings);
    let mut params = mtl_backbone::Params::new(&Device::Cpu, DType::F32);
    let start = Tensor::new(&[1_f32, 2.], &Device::Cpu).expect("a tensor");
    for (param, gradients) in [("a", &[[2_f32, 4.], [6., -8.]][..]), ("b", &[[1., 0.5]])] {
        let param = params.insert_tensor(param, &start, false, true).expect("inserted");
        for gradient in gradients {
            let gradient = dense(gradient);
            optimizer.step(&param, &WeightedSum(vec![(1., &gradient)]), Pace::of(0.)).expect("stepped");
        }
    }
    optimizer
}

/// The names that a state gives the moments of `param`: those that are scaled by the first and by the second factor.
fn names(optimizer: &str, param: &str) -> [Option<String>; 2] {
    match optimizer {
        "sgd" => [Some(format!("b/{param}")), None],
        _ => [Some(format!("m/{param}")), Some(format!("v/{param}"))],
    }
}

fn each(test: impl Fn(&str, Box<dyn Optimizer>)) {
    ["adamw", "sgd"].iter().for_each(|name| test(name, stepped(name)));
}

#[test]
fn moments_are_those_of_the_gradients() {
    each(|name, optimizer| {
        let found = remembered(&*optimizer);
        if name == "sgd" {
            assert_eq!(found["b/a"], [7., -6.]);
            assert_eq!(found["b/b"], [1., 0.5]);
        } else {
            assert_eq!(found["m/a"], [3.5, -3.]);
            assert_eq!(found["v/a"], [9.75, 19.]);
            assert_eq!((&found["steps/a"][..], &found["steps/b"][..]), (&[2.][..], &[1.][..]));
        }
    });
}

#[test]
fn a_fork_is_a_copy_and_its_origin_stays() {
    each(|name, mut optimizer| {
        let before = remembered(&*optimizer);
        optimizer.fork("a", "c");
        optimizer.fork("unknown", "d");
        let mut wanted = before.clone();
        for (key, values) in before.iter().filter(|(key, _)| key.ends_with("/a")) {
            wanted.insert(key.replace("/a", "/c"), values.clone());
        }
        assert_eq!(remembered(&*optimizer), wanted, "{name}");
    });
}

#[test]
fn scaling_changes_the_moments_of_one_parameter() {
    each(|name, mut optimizer| {
        let mut wanted = remembered(&*optimizer);
        optimizer.scale("a", 0.5, 4.);
        optimizer.scale("unknown", 0.5, 4.);
        for (key, factor) in names(name, "a").into_iter().zip([0.5, 4.]) {
            let Some(key) = key else { continue };
            wanted.get_mut(&key).expect("there").iter_mut().for_each(|value| *value *= factor);
        }
        assert_eq!(remembered(&*optimizer), wanted, "{name}");
    });
}

#[test]
fn merged_moments_are_the_weighted_sum_and_count_the_most_steps() {
    each(|name, mut optimizer| {
        let before = remembered(&*optimizer);
        optimizer.merge("c", &[("a", 0.25), ("b", 2.), ("unknown", 1.)]);
        optimizer.merge("d", &[("unknown", 1.)]);
        let mut wanted = before.clone();
        for (a, (b, c)) in names(name, "a").iter().zip(names(name, "b").iter().zip(names(name, "c"))) {
            let (Some(a), Some(b), Some(c)) = (a, b, c) else { continue };
            let sum = before[a].iter().zip(&before[b]).map(|(a, b)| 0.25 * a + 2. * b).collect();
            wanted.insert(c, sum);
        }
        if name == "adamw" {
            wanted.insert("steps/c".into(), vec![2.]);
        }
        assert_eq!(remembered(&*optimizer), wanted, "{name}");
    });
}

#[test]
fn what_is_dropped_is_forgotten_and_nothing_else() {
    each(|name, mut optimizer| {
        let mut wanted = remembered(&*optimizer);
        wanted.retain(|key, _| !key.ends_with("/a"));
        Moments::drop(&mut *optimizer, "a");
        assert_eq!(remembered(&*optimizer), wanted, "{name}");
    });
}

#[test]
fn a_state_is_restored_in_place_of_what_there_was_and_never_in_part() {
    each(|name, optimizer| {
        let saved = optimizer.state().expect("a state");
        let mut other = stepped(name);
        other.fork("a", "left over");
        other.restore(&saved).expect("restored");
        assert_eq!(remembered(&*other), remembered(&*optimizer), "{name}");
        if name == "adamw" {
            for missing in ["m/a", "v/a"] {
                let mut part = saved.clone();
                part.remove(missing);
                let error = other.restore(&part).expect_err(missing).to_string();
                assert!(error.contains(&format!("`{missing}` is missing")), "{error}");
            }
        }
    });
}
