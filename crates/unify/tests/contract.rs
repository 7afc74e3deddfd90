//! What holds for every method, whatever its formula.

use mtl_task::Registry;
use mtl_task::rng::Key;
use mtl_unify::{Inputs, Mask, Merged, Method, Model, Part, Tensor, Tensors};
use serde_json::{Value, json};

const SHAPES: [(&str, &[usize]); 5] = [
    ("embeddings.weight", &[12, 6]),
    ("bias", &[7]),
    ("dense.weight", &[6, 9]),
    ("query.weight", &[9, 6]),
    ("scale", &[]),
];

fn drawn(key: Key, scale: f64) -> Tensors {
    let tensor = |(name, shape): (&str, &[usize])| {
        let mut stream = key.named(name).stream();
        let values = (0..shape.iter().product::<usize>()).map(|_| (scale * stream.normal()) as f32).collect();
        (name.to_owned(), Tensor { shape: shape.to_vec(), values })
    };
    SHAPES.map(tensor).into()
}

fn ancestor() -> Tensors {
    drawn(Key::new(1).named("ancestor"), 1.0)
}

/// A model at `distance` from the ancestor, with statistics.
fn model(name: &str, distance: f64) -> Model {
    let key = Key::new(2).named(name);
    let mut tensors = ancestor();
    let moved = drawn(key, distance);
    for (name, tensor) in &mut tensors {
        tensor.values.iter_mut().zip(&moved[name].values).for_each(|(value, moved)| *value += moved);
    }
    let fisher = drawn(key.named("fisher"), 1.0).into_iter();
    let fisher = fisher.map(|(name, tensor)| (name, tensor.values.iter().map(|value| value * value).collect()));
    let mut products = vec![0.0; 36];
    let mut stream = key.named("inputs").stream();
    for _ in 0..12 {
        let x: Vec<f32> = (0..6).map(|_| stream.normal() as f32).collect();
        products.iter_mut().enumerate().for_each(|(at, sum)| *sum += x[at / 6] * x[at % 6]);
    }
    Model {
        name: name.to_owned(),
        tensors,
        fisher: Some(fisher.collect()),
        inner_products: Some([("query.weight".to_owned(), products)].into()),
    }
}

fn models(method: &Method) -> Vec<Model> {
    let names = ["first", "second", "third"];
    names.iter().take(method.needs.at_most.unwrap_or(3)).map(|name| model(name, 0.3)).collect()
}

fn merge(method: &Method, models: Vec<Model>) -> Merged {
    let inputs = Inputs::new(ancestor(), models).expect("sound inputs");
    method.merge(&json!({}), &inputs).unwrap_or_else(|error| panic!("{}: {error:#}", method.name))
}

fn distance(a: &Tensors, b: &Tensors) -> f32 {
    assert!(a.keys().eq(b.keys()));
    let pairs = a.iter().flat_map(|(name, tensor)| tensor.values.iter().zip(&b[name].values));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn models_that_never_moved_stay_the_ancestor() {
    for method in &Registry::<Method>::default() {
        let still = models(method).into_iter().map(|model| Model { tensors: ancestor(), ..model });
        let still: Vec<Model> = still.collect();
        let count = still.len();
        let merged = merge(method, still);
        assert!(distance(&merged.tensors, &ancestor()) < 1e-5, "{}", method.name);
        for task in 0..count {
            let own = merged.of_task(task, &ancestor()).expect("a task");
            assert!(distance(&own, &ancestor()) < 1e-5, "{}", method.name);
        }
    }
}

#[test]
fn the_order_of_the_models_does_not_matter() {
    for method in Registry::<Method>::default().iter().filter(|method| method.name != "slerp") {
        let mut turned = models(method);
        turned.reverse();
        let (one, other) = (merge(method, models(method)), merge(method, turned));
        assert!(distance(&one.tensors, &other.tensors) < 1e-5, "{}", method.name);
        let last = one.additions.len().saturating_sub(1);
        let of = |merged: &Merged, task| merged.of_task(task, &ancestor()).expect("a task");
        assert!(distance(&of(&one, 0), &of(&other, last)) < 1e-5, "{}", method.name);
    }
}

#[test]
fn copies_of_one_model_are_that_model() {
    let exact = json!({"density": 1.0, "over": "tensor"});
    for (name, settings) in [
        ("average", json!({})),
        ("fisher", json!({})),
        ("regmean", json!({})),
        ("model-stock", json!({})),
        ("slerp", json!({})),
        ("ties", exact),
        ("emr", json!({})),
        ("svd-deltas", json!({"rank": 1.0})),
        ("dare", json!({"drop": 0.0, "combine": "mean", "scaling": 1.0})),
    ] {
        let one = model("first", 0.3);
        let copy = Model { name: "second".to_owned(), ..one.clone() };
        let inputs = Inputs::new(ancestor(), vec![one.clone(), copy]).expect("sound inputs");
        let methods = Registry::<Method>::default();
        let merged = methods.find(name).expect("a method").merge(&settings, &inputs).expect("merged");
        for task in 0..2 {
            let own = merged.of_task(task, &ancestor()).expect("a task");
            assert!(distance(&own, &one.tensors) < 1e-5, "{name}: {}", distance(&own, &one.tensors));
        }
    }
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    for method in &Registry::<Method>::default() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| merge(method, models(method)))
        };
        let (one, four) = (with(1), with(4));
        assert_eq!(one.tensors, four.tensors, "{}", method.name);
        let last = one.additions.len().saturating_sub(1);
        let own = |merged: &Merged| merged.of_task(last, &ancestor()).expect("a task");
        assert_eq!(own(&one), own(&four), "{}", method.name);
    }
}

#[test]
fn what_a_task_keeps_is_counted_in_bytes() {
    let methods = Registry::<Method>::default();
    let merged = merge(methods.find("emr").expect("a method"), models(methods.find("emr").expect("a method")));
    // 72, 7, 54, 54 and 1 bits in whole bytes, and a factor.
    assert_eq!(merged.additions[0].bytes(), 9 + 1 + 7 + 7 + 1 + 4);
    assert_eq!(merged.stored_bytes(), 2 * 4 * 188 + 3 * 29);
    let merged = merge(methods.find("tsv-c").expect("an alias"), models(methods.find("tsv-c").expect("an alias")));
    assert_eq!(merged.stored_bytes(), 4 * 188 + 3 * merged.additions[0].bytes());
    // One singular value of each matrix; the vector and the number are the task's own.
    assert_eq!(merged.additions[0].bytes(), 4 * ((12 + 6) + 7 + (6 + 9) + (9 + 6) + 1));
    assert!(matches!(merged.additions[0].parts["dense.weight"], Part::LowRank { rank: 1, to_merged: false, .. }));
    let error = merged.of_task(3, &ancestor()).expect_err("three tasks").to_string();
    assert_eq!(error, "there is no task 3: there are 3");
    let mask = Mask::new((0..70).map(|at| at % 3 == 0));
    assert_eq!((mask.len(), mask.ones(), mask.get(69), mask.get(68), mask.get(72)), (70, 24, true, false, false));
}

#[test]
fn every_page_has_a_formula_a_source_and_every_setting() {
    for method in &Registry::<Method>::default() {
        let page = mtl_task::page(method.source, &(method.defaults)());
        assert!(page.contains(" = ") && method.paper.contains(char::is_numeric), "{}: {page}", method.name);
        for name in (method.defaults)().as_object().expect("an object").keys() {
            let told = page.split(&format!("\n{name} = ")).nth(1).and_then(|rest| rest.lines().nth(1));
            assert!(told.is_some_and(|line| line.len() > 10), "{}: `{name}` is not explained: {page}", method.name);
        }
        assert!(!method.about.is_empty() && !method.needs.words().is_empty());
    }
}

fn refused(method: &str, settings: Value, models: Vec<Model>) -> String {
    let inputs = Inputs::new(ancestor(), models).expect("sound inputs");
    let methods = Registry::<Method>::default();
    let error = methods.find(method).expect("a method").merge(&settings, &inputs).expect_err("refused");
    format!("{error:#}")
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let two = || vec![model("first", 0.3), model("second", 0.3)];
    for (method, settings, part) in [
        (
            "ties",
            json!({"densty": 0.2}),
            "`ties` has no setting `densty` (did you mean `density`?); there are aggregate,",
        ),
        ("ties", json!({"density": 0.0}), "`density` of `ties` is a share above 0 and at most 1, found 0"),
        ("ties", json!({"over": "layer"}), "in the settings of `ties`: unknown variant `layer`"),
        ("dare", json!({"drop": 1.0}), "at least 0 and below 1, found 1"),
        (
            "breadcrumbs",
            json!({"smallest": 0.9, "largest": 0.1}),
            "together leave out less than all, found 0.9 and 0.1",
        ),
        ("slerp", json!({"t": 1.5}), "`t` of `slerp` is a share from 0 to 1, found 1.5"),
        (
            "average",
            json!({"weights": [1.0]}),
            "`weights` of `average` needs a number for each of the 2 models, found 1",
        ),
        ("average", json!({"weights": [1.0, -1.0]}), "at least 0 and not all 0"),
        ("fisher", json!({"floor": 0.0}), "`floor` of `fisher` must be finite and above 0, found 0"),
        ("consensus", json!({"tasks": 3}), "`tasks` of `consensus` is 3, but there are 2 models"),
        ("tall-masks", json!({"scaling": 0.0}), "must not be 0"),
        ("iso-c", json!({"exclude": ["embedings"]}), "has `embedings`, which is in the name of no tensor"),
        ("svd-deltas", json!([1]), "must be a table of names and values"),
        ("task-arithmetic", json!({"scaling": 1e300}), "makes -inf of tensor"),
    ] {
        let error = refused(method, settings, two());
        assert!(error.contains(part) || error.contains(&part.replace("-inf", "inf")), "{error}");
    }
}

#[test]
fn methods_say_what_they_lack() {
    let bare = |name: &str| Model { fisher: None, inner_products: None, ..model(name, 0.3) };
    let error = refused("slerp", json!({}), vec![bare("a"), bare("b"), bare("c")]);
    assert_eq!(error, "`slerp` needs exactly 2 models, found 3");
    assert_eq!(refused("model-stock", json!({}), vec![bare("a")]), "`model-stock` needs at least 2 models, found 1");
    let error = refused("fisher", json!({}), vec![model("a", 0.3), bare("b")]);
    assert_eq!(error, "`fisher` needs the Fisher information of model `b`, which has none");
    let error = refused("regmean", json!({}), vec![bare("a")]);
    assert_eq!(error, "`regmean` needs the inner products of the layers' inputs of model `a`, which has none");
    let blind = Model { inner_products: Some([("query.weight".to_owned(), vec![0.0; 36])].into()), ..model("a", 0.3) };
    let error = refused("regmean", json!({}), vec![blind]);
    assert!(error.contains("the inputs of `query.weight` leave directions unseen"), "{error}");
    let apart = Model { inner_products: Some(Default::default()), ..model("b", 0.3) };
    let error = refused("regmean", json!({}), vec![model("a", 0.3), apart]);
    assert_eq!(error, "model `b` has no inner products of `query.weight`, which another model has");
}

#[test]
fn inputs_that_do_not_fit_are_refused_with_model_and_tensor() {
    let check = |change: &dyn Fn(&mut Model), part: &str| {
        let mut changed = model("second", 0.3);
        change(&mut changed);
        let error = Inputs::new(ancestor(), vec![model("first", 0.3), changed]).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    };
    check(
        &|model| drop(model.tensors.remove("bias")),
        "model `second` has no tensor `bias`, which the ancestor has, of shape [7]",
    );
    let zero = || Tensor { shape: vec![1], values: vec![0.0] };
    check(&|model| drop(model.tensors.insert("head.bias".into(), zero())), "`head.bias` that the ancestor has not");
    check(
        &|model| drop(model.tensors.insert("bias".into(), zero())),
        "`bias` of model `second` has the shape [1], the ancestor's [7]",
    );
    let edit = |name: &'static str, value: f32| {
        move |model: &mut Model| model.tensors.get_mut(name).expect("there").values[3] = value
    };
    check(&edit("bias", f32::NAN), "a weight of model `second` is not finite: element 3 of tensor `bias` is NaN");
    check(&|model| model.tensors.get_mut("bias").expect("there").values.truncate(6), "has the shape [7], but 6 values");
    check(&|model| model.name = "first".into(), "two models are called `first`");
    check(
        &|model| drop(model.fisher.as_mut().expect("there").insert("bias".into(), vec![1.0])),
        "`bias` of model `second` has 1 values",
    );
    check(&|model| drop(model.fisher.as_mut().expect("there").insert("bias".into(), vec![-1.0; 7])), "is negative: -1");
    let products = |name: &'static str, count: usize| {
        move |model: &mut Model| {
            drop(model.inner_products.as_mut().expect("there").insert(name.into(), vec![1.0; count]))
        }
    };
    check(&products("query.weight", 9), "have 9 values; 6 inputs make 36");
    check(&products("bias", 49), "they belong to matrices alone");
    check(&products("quer.weight", 36), "that the model has not");
    assert!(Inputs::new(ancestor(), vec![]).is_err() && Inputs::new(Tensors::new(), vec![model("a", 0.1)]).is_err());
}

#[test]
fn a_model_of_another_ancestor_is_refused() {
    let large = |key: Key| {
        let mut stream = key.stream();
        let values = (0..20_000).map(|_| stream.normal() as f32).collect();
        Tensors::from([("weight".to_owned(), Tensor { shape: vec![200, 100], values })])
    };
    let one = |tensors| vec![Model { name: "other".to_owned(), tensors, ..Model::default() }];
    let error = Inputs::new(large(Key::new(3)), one(large(Key::new(4)))).expect_err("unrelated").to_string();
    assert!(error.contains("model `other` was not fine-tuned from this ancestor: the cosine"), "{error}");
    let mut near = large(Key::new(3));
    near.values_mut().flat_map(|tensor| &mut tensor.values).for_each(|value| *value *= 1.1);
    assert!(Inputs::new(large(Key::new(3)), one(near)).is_ok());
}
