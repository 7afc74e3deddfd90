//! Hard sharing and its options, and the single-task baseline.

mod support;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Tensor};
use mtl_backbone::{Encoder, Part, Pass};
use mtl_sharing::Model;
use mtl_task::rng::Key;
use mtl_task::{Progress, TaskId};
use serde_json::{Value, json};
use support::{HIDDEN, LAYERS, answers, build, gradients, loss, set, step, texts, tiny, values};

const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

fn hard(section: &Value) -> Result<Model> {
    build("hard", section, &tiny(5), 3, DType::F64)
}

fn layer_length() -> usize {
    tiny(5).encoder.layout(Part::Layer(0)).len()
}

fn count(model: &Model) -> usize {
    let heads = ALL.iter().flat_map(|task| model.head(*task));
    let heads: usize = heads.filter_map(|name| Some(model.params.get(&name)?.layout().len())).sum();
    model.params.count() - heads
}

/// The gradient of `name` by task 0.
fn gradient(model: &Model, name: &str) -> Result<Vec<f64>> {
    let row = gradients(model, &ALL[..1])?.remove(0).1;
    let flat = row.0.get(name).with_context(|| format!("no gradient for `{name}`"))?;
    let flat = flat.dense(model.params.get(name).context("a parameter")?.layout().len())?;
    Ok((0..flat.len()).map(|at| flat.at(at)).collect())
}

/// Holds the gradient of `name` by task 0 to finite differences at three elements.
fn agrees_with_differences(model: &Model, name: &str) -> Result<()> {
    let (exact, start) = (gradient(model, name)?, values(model, name)?);
    let mut stream = Key::new(3).named(name).stream();
    for _ in 0..3 {
        let index = stream.below(start.len());
        let at = |offset: f64| -> Result<f64> {
            let mut moved = start.clone();
            moved[index] += offset;
            set(model, name, &moved)?;
            Ok(loss(model, TaskId(0), &mut Pass::evaluation())?.to_scalar::<f64>()?)
        };
        let numeric = (at(1e-5)? - at(-1e-5)?) / 2e-5;
        at(0.)?;
        let exact = exact[index];
        ensure!(
            (numeric - exact).abs() < 1e-6 * (1. + exact.abs()),
            "`{name}` element {index}: {numeric} by differences, {exact} by backward"
        );
    }
    Ok(())
}

#[test]
fn private_layers_start_as_copies_and_part() -> Result<()> {
    let (plain, mut model) = (hard(&json!({}))?, hard(&json!({ "private_layers": 2 }))?);
    assert_eq!(count(&plain), tiny(5).count());
    assert_eq!(count(&model), tiny(5).count() + (3 - 1) * 2 * layer_length());
    ensure!(answers(&model)? == answers(&plain)?, "other answers at the start");
    for index in 0..LAYERS {
        let name = if index == 0 { "shared/layer.0".into() } else { format!("task.a/layer.{index}") };
        ensure!(gradient(&model, &name)? == gradient(&plain, &format!("shared/layer.{index}"))?, "`{name}`");
    }
    let shared: BTreeSet<String> = ["shared/embeddings", "shared/layer.0", "shared/words"].map(String::from).into();
    assert_eq!(model.shared(), shared);
    let (own, other) = (values(&model, "task.a/layer.2")?, values(&model, "task.b/layer.2")?);
    assert_eq!(own, other);
    step(&mut model, &ALL[..1], Progress { step: 0, of: 1 }, 0.1)?;
    assert_ne!(values(&model, "task.a/layer.2")?, own);
    assert_eq!(values(&model, "task.b/layer.2")?, other);
    let all_private = hard(&json!({ "private_layers": LAYERS }))?;
    assert_eq!(all_private.shared(), ["shared/embeddings", "shared/words"].map(String::from).into());
    let error = hard(&json!({ "private_layers": LAYERS + 1 })).err().context("too many")?;
    assert!(format!("{error:#}").contains("`private_layers` is 4, but the encoder has 3 layers"), "{error:#}");
    Ok(())
}

#[test]
fn private_norms_take_their_share_of_the_gradient() -> Result<()> {
    let (plain, mut model) = (hard(&json!({}))?, hard(&json!({ "private_norms": true, "private_layers": 1 }))?);
    let copies = (3 - 1) * layer_length() + 3 * (LAYERS - 1) * 4 * HIDDEN;
    assert_eq!(count(&model), tiny(5).count() + copies);
    ensure!(answers(&model)? == answers(&plain)?, "other answers at the start");
    let layout = tiny(5).encoder.layout(Part::Layer(1)).clone();
    let whole = gradient(&plain, "shared/layer.1")?;
    let (mut shared, mut own) = (whole.clone(), Vec::new());
    for entry in layout.entries().iter().filter(|entry| entry.name.contains("LayerNorm")) {
        own.extend_from_slice(&whole[entry.range.clone()]);
        shared[entry.range.clone()].fill(0.);
    }
    assert_eq!(own.len(), 4 * HIDDEN);
    ensure!(gradient(&model, "shared/layer.1")? == shared, "the shared share");
    ensure!(gradient(&model, "task.a/layer.1.norms")? == own, "the private share");

    // Where the tasks' norms have parted, the weights that a task sees are its own.
    let before = answers(&model)?;
    let drawn: Vec<f64> = values(&model, "task.a/layer.1.norms")?.iter().map(|value| 1.5 * value + 0.1).collect();
    set(&model, "task.a/layer.1.norms", &drawn)?;
    let after = answers(&model)?;
    assert!(before[0] != after[0] && before[1..] == after[1..]);
    ["task.a/layer.1.norms", "shared/layer.1", "task.a/layer.2", "shared/embeddings"]
        .iter()
        .try_for_each(|name| agrees_with_differences(&model, name))?;
    let other = values(&model, "task.b/layer.0.norms")?;
    step(&mut model, &ALL[..1], Progress { step: 0, of: 1 }, 0.1)?;
    assert_eq!(values(&model, "task.b/layer.0.norms")?, other);
    assert!(!model.shared().iter().any(|name| name.contains("norms")));
    assert!(model.reach(TaskId(0)).contains("task.a/layer.0.norms"));
    assert!(!model.reach(TaskId(0)).contains("task.b/layer.0.norms"));
    Ok(())
}

#[test]
fn a_mix_begins_as_the_mean_of_all_states_and_learns() -> Result<()> {
    let (plain, model) = (hard(&json!({}))?, hard(&json!({ "mix": true }))?);
    assert_eq!(count(&model), tiny(5).count() + 3 * (LAYERS + 1 + 1));
    let task = TaskId(0);
    let mut pass = Pass::evaluation();
    let tokens = texts(task);
    let encoder = &plain.encoder;
    let mut view = |part: &str| pass.view(plain.params.get(part).expect("a part"));
    let views = [view("shared/words")?, view("shared/embeddings")?];
    let words = encoder.words(&views[0], &tokens, &mut Pass::evaluation())?;
    let mut states = vec![encoder.embed(&views[1], &words, &tokens, &mut Pass::evaluation())?];
    for index in 0..LAYERS {
        let view = Pass::evaluation().view(plain.params.get(&format!("shared/layer.{index}")).context("a layer")?)?;
        let below = &states[index];
        states.push(encoder.layer(&view, below, &tokens, &Default::default(), &mut Pass::evaluation())?);
    }
    let mean = (Tensor::stack(&states, 0)?.sum(0)? * (1. / (LAYERS + 1) as f64))?;
    let found = model.sharing.represent(task, &tokens, &mut Pass::evaluation())?;
    assert!((found - mean)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-14);
    set(&model, "task.a/mix.weights", &[0.3, -0.2, 0.9, 0.1])?;
    set(&model, "task.a/mix.scale", &[1.3])?;
    ["task.a/mix.weights", "task.a/mix.scale", "shared/layer.0"]
        .iter()
        .try_for_each(|name| agrees_with_differences(&model, name))
}

#[test]
fn one_task_alone_is_hard_sharing_with_nobody_bit_for_bit() -> Result<()> {
    let mut single = build("single", &json!({}), &tiny(5), 1, DType::F32)?;
    let mut hard = build("hard", &json!({}), &tiny(5), 1, DType::F32)?;
    for at in 0..3 {
        ensure!(answers(&single)? == answers(&hard)?, "answers at step {at}");
        step(&mut single, &ALL[..1], Progress { step: at, of: 3 }, 0.05)?;
        step(&mut hard, &ALL[..1], Progress { step: at, of: 3 }, 0.05)?;
    }
    Ok(())
}

#[test]
fn single_tasks_do_not_touch_each_other() -> Result<()> {
    let mut joint = build("single", &json!({}), &tiny(5), 3, DType::F32)?;
    let mut alone = build("single", &json!({}), &tiny(5), 3, DType::F32)?;
    assert!(joint.shared().is_empty());
    assert_eq!(count(&joint), 3 * tiny(5).count());
    let before = answers(&alone)?;
    for at in 0..3 {
        step(&mut joint, &ALL, Progress { step: at, of: 3 }, 0.05)?;
        step(&mut alone, &ALL[1..2], Progress { step: at, of: 3 }, 0.05)?;
    }
    let (joint, alone) = (answers(&joint)?, answers(&alone)?);
    assert!(joint[1] == alone[1] && alone[1] != before[1]);
    assert!(alone[0] == before[0] && alone[2] == before[2]);
    Ok(())
}

#[test]
fn the_account_of_a_model_adds_up() -> Result<()> {
    let encoder = tiny(5).count();
    let head = |task: usize| (2 + task) * (HIDDEN + 1);
    let heads: usize = (0..3).map(head).sum();
    let model = hard(&json!({ "private_layers": 1 }))?;
    let account = model.accounting(encoder);
    assert_eq!(account.total, encoder + 2 * layer_length() + heads);
    assert_eq!(account.trainable, account.total);
    assert_eq!(account.per_task, [0, 1, 2].map(|task| encoder + head(task)));
    assert_eq!(account.single_task_total, 3 * encoder + heads);
    assert_eq!(account.stored_bytes, 4 * account.total as u64);
    let shared = (encoder - layer_length()) as f64 / account.total as f64;
    assert!((account.shared_fraction - shared).abs() < 1e-15);
    Ok(())
}
