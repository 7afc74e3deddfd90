//! Every method against answers that were not made by this code: `fixtures/merge.json` (the papers' formulas in numpy)
//! and `fixtures/mergekit/merge.json` (mergekit, where it has the method).

use std::collections::{BTreeMap, BTreeSet};

use mtl_task::Registry;
use mtl_unify::{Inputs, Method, Model, Tensor, Tensors};
use serde::Deserialize;
use serde_json::Value;

/// How far from the oracle, absolutely or relatively: the rounding of f32 results.
const NEAR: f64 = 1e-6;

type Values = BTreeMap<String, Vec<f64>>;

#[derive(Deserialize)]
struct Fixture {
    shapes: BTreeMap<String, Vec<usize>>,
    sets: BTreeMap<String, Set>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Set {
    ancestor: Values,
    models: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    name: String,
    tensors: Values,
    fisher: Option<Values>,
    inner_products: Option<Values>,
}

#[derive(Deserialize)]
struct Case {
    set: String,
    method: String,
    settings: Value,
    tensors: Values,
    tasks: Vec<Values>,
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn inputs(fixture: &Fixture, set: &str) -> Inputs {
    let tensors = |values: &Values| -> Tensors {
        let tensor =
            |name: &str, values: &[f64]| Tensor { shape: fixture.shapes[name].clone(), values: single(values) };
        values.iter().map(|(name, values)| (name.clone(), tensor(name, values))).collect()
    };
    let plain = |values: &Values| values.iter().map(|(name, values)| (name.clone(), single(values))).collect();
    let model = |given: &Given| Model {
        name: given.name.clone(),
        tensors: tensors(&given.tensors),
        fisher: given.fisher.as_ref().map(plain),
        inner_products: given.inner_products.as_ref().map(plain),
    };
    let set = &fixture.sets[set];
    Inputs::new(tensors(&set.ancestor), set.models.iter().map(model).collect()).expect("sound inputs")
}

/// The largest distance, after the names and lengths were compared.
fn compare(what: &str, found: &Tensors, right: &Values) -> f64 {
    assert!(found.keys().eq(right.keys()), "{what}: other tensors");
    let mut most: f64 = 0.0;
    for (name, tensor) in found {
        assert_eq!(tensor.values.len(), right[name].len(), "{what}: {name}");
        for (at, (found, right)) in tensor.values.iter().zip(&right[name]).enumerate() {
            let distance = (f64::from(*found) - right).abs() / right.abs().max(1.0);
            assert!(distance <= NEAR, "{what}: element {at} of {name} is {found}, not {right}");
            most = most.max(distance);
        }
    }
    most
}

fn play(text: &str) -> BTreeSet<String> {
    let fixture: Fixture = serde_json::from_str(text).expect("a fixture");
    let methods = Registry::<Method>::default();
    let mut seen = BTreeSet::new();
    for case in &fixture.cases {
        let what = format!("{} {} of {}", case.method, case.settings, case.set);
        let inputs = inputs(&fixture, &case.set);
        let method = methods.find(&case.method).expect("a method");
        let merged = method.merge(&case.settings, &inputs).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        compare(&what, &merged.tensors, &case.tensors);
        assert_eq!(merged.additions.len(), case.tasks.len(), "{what}");
        assert_eq!(method.per_task, !case.tasks.is_empty(), "{what}");
        for (task, right) in case.tasks.iter().enumerate() {
            let own = merged.of_task(task, inputs.ancestor()).expect("a task");
            compare(&format!("{what}, task {task}"), &own, right);
            assert_eq!(merged.additions[task].model, inputs.models()[task].name);
        }
        seen.insert(case.method.clone());
    }
    seen
}

#[test]
fn every_method_is_what_its_formula_says() {
    let seen = play(include_str!("fixtures/merge.json"));
    let all: BTreeSet<String> = Registry::<Method>::default().names().into_iter().map(str::to_owned).collect();
    assert_eq!(seen, all, "every method has a case");
}

#[test]
fn mergekit_answers_the_same_where_it_has_the_method() {
    let seen = play(include_str!("fixtures/mergekit/merge.json"));
    assert_eq!(seen.len(), 6, "{seen:?}");
}
