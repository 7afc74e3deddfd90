//! The parameter-efficient strategies on a tiny encoder: they start from it, learn by the right gradients, cost what
//! they say, come back from a file, and merge into plain weights where they are a change of weights.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Family, Flat, GradientBlock, Param, Part, Pass, Pretrained, TaskGradient, random};
use mtl_sharing::{DevScores, HeadSettings, Model, Sharing, TaskShape, find};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, Reads, TaskId};
use serde_json::{Value, json};

/// Layers, width, feed-forward width, positions and heads of the tiny encoder.
const L: usize = 2;
const H: usize = 12;
const I: usize = 20;
const TASKS: usize = 2;

fn tiny(dropout: f64) -> Pretrained {
    let config = json!({
        "vocab_size": 23, "hidden_size": H, "num_hidden_layers": L, "num_attention_heads": 3, "intermediate_size": I,
        "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.3,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    });
    random("bert", &config, Key::new(5)).expect("a valid configuration")
}

fn texts() -> Packed {
    let text = |ids: &[u32], segments: &[u32]| Encoded {
        ids: ids.to_vec(),
        segments: segments.to_vec(),
        ..Encoded::default()
    };
    Packed::new([&text(&[1, 5, 7, 5, 2], &[0, 0, 0, 1, 1]), &text(&[1, 2], &[0, 0]), &text(&[1, 22, 2], &[0, 0, 0])])
}

fn model_over(pretrained: &Pretrained, strategy: &str, section: &Value, dtype: DType, seed: u64) -> Model {
    let tasks = ["a", "b"].map(|name| TaskShape { name: name.into(), outputs: 3, reads: Reads::Text });
    let head = HeadSettings { dropout: 0., ..HeadSettings::default() };
    Model::build(
        mtl_sharing::find(strategy).expect("a strategy"),
        section,
        &head,
        pretrained,
        tasks.to_vec(),
        Key::new(seed),
        &Device::Cpu,
        dtype,
    )
    .unwrap_or_else(|error| panic!("{strategy} {section}: {error:#}"))
}

fn model(strategy: &str, section: &Value) -> Model {
    model_over(&tiny(0.), strategy, section, DType::F64, 1)
}

/// Moves every trainable parameter by random numbers, so that nothing is zero.
fn shake(model: &Model, deviation: f64) -> Result<()> {
    for param in model.params.iter().filter(|param| param.trainable()) {
        let mut stream = Key::new(77).named(param.name()).stream();
        let noise: Vec<f64> = (0..param.layout().len()).map(|_| stream.normal() * deviation).collect();
        let noise = Tensor::from_vec(noise, param.tensor().shape(), &Device::Cpu)?.to_dtype(model.params.dtype())?;
        param.var().set(&(param.tensor().detach() + noise)?)?;
    }
    Ok(())
}

/// A loss in which every logit has its own weight.
fn loss(model: &Model, task: TaskId, pass: &mut Pass) -> Result<Tensor> {
    let logits = model.logits(task, &texts(), pass)?;
    let mut stream = Key::new(9).with(task.0 as u64).stream();
    let weights: Vec<f64> = (0..logits.elem_count()).map(|_| stream.normal()).collect();
    (&logits * Tensor::from_vec(weights, logits.shape(), &Device::Cpu)?.to_dtype(logits.dtype())?)?.sum_all()
}

fn row(model: &Model, task: TaskId) -> Result<TaskGradient> {
    let mut pass = Pass::training(Key::new(11));
    let loss = loss(model, task, &mut pass)?;
    pass.backward(&loss, &model.params)
}

fn states(model: &Model, task: TaskId) -> Result<Vec<Vec<f64>>> {
    model.sharing.represent(task, &texts(), &mut Pass::evaluation())?.to_dtype(DType::F64)?.to_vec2()
}

fn element(param: &Param, index: usize, offset: f64) -> Result<()> {
    let Flat::F64(mut values) = Flat::of(param.tensor())? else { panic!("parameters are f64 here") };
    values[index] += offset;
    param.var().set(&Tensor::from_vec(values, param.tensor().shape(), &Device::Cpu)?)
}

/// Every section of the strategies here, and how many parameters it adds to the encoder's and the heads'.
fn sections() -> Vec<(&'static str, Value, usize)> {
    vec![
        ("bitfit", json!({}), TASKS * (L * (7 * H + I) + H)),
        ("bitfit", json!({ "biases": "query-and-widen", "share": true }), L * (H + I)),
        ("bitfit", json!({ "train_base": true }), TASKS * (L * (7 * H + I) + H)),
        ("lora", json!({ "rank": 3 }), TASKS * L * 3 * 4 * H),
        ("lora", json!({ "rank": 2, "targets": ["narrow", "key"], "share": true }), L * 2 * (2 * H + H + I)),
        ("lora", json!({ "rank": 2, "train_base": true }), TASKS * L * 2 * 4 * H),
        ("mtl-lora", json!({ "rank": 3, "temperature": 0.7 }), L * 4 * (3 * H + 3 * H * 3) + TASKS * L * 4 * (9 + 3)),
        (
            "mtl-lora",
            json!({ "rank": 2, "ups": 2, "targets": ["widen"], "train_base": true, "temperature": 0.7 }),
            L * (2 * H + 2 * I * 2) + TASKS * L * (4 + 2),
        ),
        ("task-norm", json!({}), TASKS * (4 * H * L + 3 * H)),
        ("task-norm", json!({ "embedding": "none", "train_base": false }), TASKS * (4 * H * L + 2 * H)),
        ("task-norm", json!({ "norms": false, "embedding": "all" }), TASKS * H),
        ("task-norm", json!({ "embedding": "all", "train_base": false }), TASKS * (4 * H * L + 3 * H)),
        ("adapter", json!({ "width": 5 }), TASKS * (L * 2 * (2 * H * 5 + 5 + H) + 4 * H * L + 2 * H)),
        ("adapter", json!({ "placement": "pfeiffer", "width": 4 }), TASKS * L * (2 * H * 4 + 4 + H)),
        (
            "adapter",
            json!({ "placement": "pfeiffer", "width": 4, "share": true, "norms": "own" }),
            L * (2 * H * 4 + 4 + H) + 4 * H * L + 2 * H,
        ),
        ("adapter", json!({ "width": 3, "share": true, "train_base": true }), L * 2 * (2 * H * 3 + 3 + H)),
        ("pal", json!({ "width": 6, "heads": 2 }), TASKS * (2 * H * 6 + 6 + H + 3 * L * (36 + 6))),
        ("pal", json!({ "width": 4, "heads": 1, "train_base": false }), TASKS * (2 * H * 4 + 4 + H + 3 * L * (16 + 4))),
        ("prefix", json!({ "length": 3 }), TASKS * 2 * L * 3 * H),
        (
            "prefix",
            json!({ "length": 2, "reparameterise": 5, "train_base": true }),
            TASKS * (2 * H + 5 * (H + 1) + 2 * L * H * (5 + 1)),
        ),
        ("prefix", json!({ "length": 2, "share": true }), 2 * L * 2 * H),
        // Its private LayerNorms are ranges of a vector like those of the strategies above.
        ("hard", json!({ "private_norms": true }), TASKS * L * 4 * H),
    ]
}

#[test]
fn training_starts_from_the_pretrained_encoder() -> Result<()> {
    let hard = model("hard", &json!({}));
    for (strategy, section, _) in sections() {
        if strategy == "prefix" {
            // A prefix takes a share of the attention whatever it is.
            continue;
        }
        let start = model(strategy, &section);
        for task in [TaskId(0), TaskId(1)] {
            assert_eq!(states(&start, task)?, states(&hard, task)?, "{strategy} {section}");
        }
    }
    Ok(())
}

#[test]
fn parameters_cost_what_the_documentation_says() {
    let heads = TASKS * (3 * H + 3);
    for (strategy, section, added) in sections() {
        let model = model(strategy, &section);
        assert_eq!(model.params.count(), tiny(0.).count() + heads + added, "{strategy} {section}");
        let accounting = model.accounting(tiny(0.).count());
        let defaults = (find(strategy).expect("registered").defaults)();
        let base = strategy == "hard" || section.get("train_base").unwrap_or(&defaults["train_base"]) == true;
        let trainable = added + heads + if base { tiny(0.).count() } else { 0 };
        assert_eq!(accounting.trainable, trainable, "{strategy} {section}");
    }
}

#[test]
fn every_trainable_parameter_gets_the_right_gradient() -> Result<()> {
    for (strategy, section, _) in sections() {
        let model = model_over(&tiny(0.1), strategy, &section, DType::F64, 1);
        // At the start no gradient is missing or broken, though some are zero.
        for task in [TaskId(0), TaskId(1)] {
            check_row(&model, task, &row(&model, task)?, &format!("{strategy} {section}"));
        }
        shake(&model, 0.1)?;
        let task = TaskId(1);
        let row = row(&model, task)?;
        check_row(&model, task, &row, &format!("{strategy} {section}"));
        let mut stream = Key::new(3).stream();
        for (name, segment) in &row.0 {
            let param = model.params.get(name).expect("rows name parameters");
            let gradient = segment.dense(param.layout().len())?;
            for entry in param.layout().entries() {
                for _ in 0..2 {
                    let index = match segment {
                        GradientBlock::Rows(rows) => rows.ids[stream.below(rows.ids.len())] as usize * rows.width,
                        GradientBlock::Dense(_) => entry.range.start + stream.below(entry.range.len()),
                    };
                    let at = |offset: f64| -> Result<f64> {
                        element(param, index, offset)?;
                        let value = loss(&model, task, &mut Pass::training(Key::new(11)))?.to_scalar::<f64>()?;
                        element(param, index, -offset)?;
                        Ok(value)
                    };
                    let numeric = (at(1e-5)? - at(-1e-5)?) / 2e-5;
                    let exact = gradient.at(index);
                    assert!(
                        (numeric - exact).abs() < 1e-6 * (1. + exact.abs()),
                        "{strategy} {section} {name} {} element {index}: {numeric} by differences, {exact} by backward",
                        entry.name
                    );
                }
            }
        }
    }
    Ok(())
}

/// A row holds a finite gradient for every trainable parameter that the task reaches, and for no other.
fn check_row(model: &Model, task: TaskId, row: &TaskGradient, about: &str) {
    let trainable = |name: &String| model.params.get(name).is_some_and(|param| param.trainable());
    let reached: Vec<String> = model.reach(task).into_iter().filter(trainable).collect();
    assert_eq!(row.0.keys().collect::<Vec<_>>(), reached.iter().collect::<Vec<_>>(), "{about}");
    for (name, segment) in &row.0 {
        assert_eq!(segment.values().first_non_finite(), None, "{about} {name}");
    }
}

#[test]
fn whether_anything_is_shared_is_known_from_the_section() -> anyhow::Result<()> {
    for (strategy, section, _) in sections() {
        let shared = !model(strategy, &section).shared().is_empty();
        assert_eq!((find(strategy)?.shares_with)(&section)?, shared, "{strategy} {section}");
    }
    Ok(())
}

#[test]
fn a_saved_model_comes_back_bit_for_bit() -> Result<()> {
    for (strategy, section, _) in sections() {
        let trained = model_over(&tiny(0.), strategy, &section, DType::F32, 1);
        shake(&trained, 0.1)?;
        let tensors = trained.params.tensors()?;
        let saved: BTreeMap<String, Tensor> = tensors.iter().cloned().collect();
        assert_eq!(saved.len(), tensors.len(), "{strategy} {section}: two tensors of one name");
        let mut loaded = model_over(&tiny(0.), strategy, &section, DType::F32, 2);
        loaded.params.assign(&saved)?;
        loaded.sharing.restore(&trained.sharing.state()?, 0)?;
        for task in [TaskId(0), TaskId(1)] {
            assert_eq!(states(&trained, task)?, states(&loaded, task)?, "{strategy} {section}");
        }
    }
    Ok(())
}

#[test]
fn changes_of_weights_merge_into_a_plain_encoder() -> Result<()> {
    for (strategy, section, _) in sections() {
        let trained = model(strategy, &section);
        shake(&trained, 0.1)?;
        for task in [TaskId(0), TaskId(1)] {
            if trained.sharing.merged(task)?.is_none() {
                assert!(["adapter", "pal", "prefix"].contains(&strategy), "{strategy} {section} does not merge");
                continue;
            }
            merges(&trained, task, &format!("{strategy} {section}"))?;
        }
    }
    let others = [
        ("single", json!({})),
        ("soft", json!({})),
        ("hard", json!({})),
        ("hard", json!({ "private_layers": 1, "private_norms": true })),
        ("tensor", json!({ "rank": 3 })),
        ("tensor", json!({ "form": "laf", "base": "frozen" })),
        ("tensor", json!({ "form": "tt" })),
    ];
    for (strategy, section) in others {
        let trained = model(strategy, &section);
        shake(&trained, 0.1)?;
        for task in [TaskId(0), TaskId(1)] {
            merges(&trained, task, &format!("{strategy} {section}"))?;
        }
    }
    // The head of the first task reads the layer below the top one.
    let levels = model("hierarchical", &json!({}));
    shake(&levels, 0.1)?;
    assert!(levels.sharing.merged(TaskId(0))?.is_none());
    merges(&levels, TaskId(1), "hierarchical")?;
    for section in [json!({ "labels": true }), json!({ "mix": true })] {
        assert!(model("hierarchical", &section).sharing.merged(TaskId(1))?.is_none(), "{section}");
    }
    Ok(())
}

#[test]
fn phases_merge_as_the_tasks_see_the_encoder_in_them() -> Result<()> {
    let sections = [
        ("sparse", json!({ "final_rate": 0.25, "rounds": 1, "criterion": "increase" })),
        ("tensor", json!({ "init": "svd", "rank": 2 })),
    ];
    for (strategy, section) in sections {
        let mut trained = model(strategy, &section);
        let start = states(&trained, TaskId(0))?;
        for phase in 0..=trained.sharing.phases(20).len() {
            trained.sharing.enter(phase, &mut Level)?;
            shake(&trained, 0.1)?;
            for task in [TaskId(0), TaskId(1)] {
                merges(&trained, task, &format!("{strategy}, phase {phase}"))?;
            }
        }
        assert_ne!(states(&trained, TaskId(0))?, start, "{strategy}");
    }
    Ok(())
}

/// The same score for everything.
struct Level;

impl DevScores for Level {
    fn score(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> Result<f64> {
        Ok(0.5)
    }

    fn losses(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> Result<Vec<f64>> {
        Ok(vec![0.5])
    }
}

/// Holds the states of `task` to those of a plain encoder with the merged weights.
fn merges(trained: &Model, task: TaskId, about: &str) -> Result<()> {
    let parts = trained.sharing.merged(task)?.unwrap_or_else(|| panic!("{about} does not merge"));
    let weights = parts.iter().map(|(part, theta)| Ok((*part, Flat::of(theta)?))).collect::<Result<_>>()?;
    let plain = model_over(&Pretrained { weights, ..tiny(0.) }, "hard", &json!({}), DType::F64, 1);
    assert_eq!(states(&plain, task)?, states(trained, task)?, "{about}, task {}", task.0);
    Ok(())
}

#[test]
fn unknown_keys_and_impossible_settings_are_refused() {
    let cases = [("bitfit", json!({ "share": true, "train_base": true }), "hard sharing")];
    for (strategy, section, reason) in cases {
        let entry = find(strategy).expect("registered");
        let error = (entry.check)(&section, TASKS).expect_err(strategy);
        assert!(format!("{error:#}").contains(reason), "{strategy}: {error:#}");
    }
    for strategy in ["adapter", "bitfit", "lora", "mtl-lora", "pal", "prefix", "task-norm"] {
        let entry = find(strategy).expect("registered");
        let error = (entry.check)(&json!({ "rnak": 3 }), TASKS).expect_err(strategy);
        assert!(format!("{error:#}").contains("unknown field `rnak`"), "{strategy}: {error:#}");
        let defaults = (entry.defaults)();
        assert!((entry.check)(&defaults, TASKS).is_ok(), "{strategy}");
        model(strategy, &defaults);
    }
}

#[test]
fn bitfit_changes_biases_only() -> Result<()> {
    let trained = model("bitfit", &json!({}));
    shake(&trained, 0.1)?;
    let (start, encoder) = (tiny(0.), trained.encoder.clone());
    for (part, theta) in trained.sharing.merged(TaskId(0))?.expect("biases are weights") {
        let (before, after) = (start.weights(part, DType::F64), Flat::of(&theta)?);
        for entry in layout(&encoder, part) {
            let changed = entry.1.clone().filter(|&index| before.at(index) != after.at(index)).count();
            let expected = if entry.0.ends_with("bias") { entry.1.len() } else { 0 };
            assert_eq!(changed, expected, "{}", entry.0);
        }
    }
    Ok(())
}

#[test]
fn padding_changes_no_answer() -> Result<()> {
    let text = |ids: &[u32]| Encoded { ids: ids.to_vec(), segments: vec![0; ids.len()], ..Encoded::default() };
    let (a, b) = (text(&[1, 5, 7, 2]), text(&[1, 2]));
    for (strategy, section) in [
        ("pal", json!({ "width": 6, "heads": 2 })),
        ("prefix", json!({ "length": 3 })),
        ("adapter", json!({ "placement": "pfeiffer" })),
    ] {
        let model = model(strategy, &section);
        shake(&model, 0.1)?;
        let logits = |tokens: &Packed| -> Result<Vec<f64>> {
            model.logits(TaskId(0), tokens, &mut Pass::evaluation())?.flatten_all()?.to_vec1()
        };
        let (packed, padded) = (logits(&Packed::new([&a, &b]))?, logits(&Packed::padded([&a, &b], 0))?);
        for (x, y) in packed.iter().zip(&padded) {
            assert!((x - y).abs() < 1e-12, "{strategy}: {x} packed, {y} padded");
        }
    }
    Ok(())
}

#[test]
fn a_task_embedding_on_the_first_token_finds_the_row_that_positions_begin_with() -> Result<()> {
    let config = json!({
        "vocab_size": 23, "hidden_size": H, "num_hidden_layers": 0, "num_attention_heads": 3, "intermediate_size": I,
        "max_position_embeddings": 16, "type_vocab_size": 1, "pad_token_id": 1,
    });
    let pretrained = random("roberta", &config, Key::new(5)).expect("a valid configuration");
    let section = json!({ "norms": false });
    let (start, moved) = (
        model_over(&pretrained, "task-norm", &section, DType::F64, 1),
        model_over(&pretrained, "task-norm", &section, DType::F64, 1),
    );
    element(moved.params.get("task.a/task_embedding").expect("inserted"), 0, 1.)?;
    let (before, after) = (states(&start, TaskId(0))?, states(&moved, TaskId(0))?);
    let firsts = &texts().offsets[..3];
    for (token, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before != after, firsts.contains(&token), "token {token}");
    }
    assert_eq!(states(&moved, TaskId(1))?, states(&start, TaskId(1))?);
    Ok(())
}

#[test]
fn findings_tell_how_far_a_task_went_and_what_it_mixes() -> Result<()> {
    let untouched = model("bitfit", &json!({})).sharing.findings()?;
    let moved = untouched["moved"].as_object().expect("by parameter");
    assert_eq!(moved.len(), TASKS * (L + 1));
    assert!(moved.values().all(|moved| moved == 0.), "{untouched}");

    let mixed = model("mtl-lora", &json!({ "ups": 4 }));
    shake(&mixed, 0.1)?;
    let found = mixed.sharing.findings()?;
    for task in ["a", "b"] {
        let mix = found[task]["mix"]["layer.1.value"].as_array().expect("one weight for each up");
        let sum: f64 = mix.iter().filter_map(Value::as_f64).sum();
        assert!(mix.len() == 4 && (sum - 1.).abs() < 1e-12, "{found}");
        assert!(found[task]["relative_change"]["layer.0.query"].as_f64().is_some_and(|size| size > 0.), "{found}");
    }

    let lora = model("lora", &json!({ "rank": 2 }));
    assert_eq!(lora.sharing.findings()?["relative_change"]["task.a"]["layer.0.value"], 0.);
    Ok(())
}

fn layout(encoder: &Family, part: Part) -> Vec<(String, std::ops::Range<usize>)> {
    use mtl_backbone::Encoder;
    encoder.layout(part).entries().iter().map(|entry| (entry.name.clone(), entry.range.clone())).collect()
}
