//! The parameter-efficient strategies on a tiny encoder: they start from it, learn by the right gradients, cost what
//! they say, and come back from a file.

mod support;

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, GradientBlock, Part, Pass, TaskGradient, random};
use mtl_sharing::{Model, find};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, TaskId};
use serde_json::{Value, json};
use support::by_hand::{disturb, nudge};
use support::sections::{TASKS, model, model_over, row, sections, states, with_dropout};
use support::{HIDDEN, LAYERS, VOCABULARY, loss, texts, tiny};

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
    let heads: usize = support::tasks(TASKS).iter().map(|task| task.outputs * (HIDDEN + 1)).sum();
    for (strategy, section, added) in sections() {
        let model = model(strategy, &section);
        assert_eq!(model.params.count(), tiny(5).count() + heads + added, "{strategy} {section}");
        let accounting = model.accounting(tiny(5).count());
        let defaults = (find(strategy).expect("registered").defaults)();
        let base = strategy == "hard" || section.get("train_base").unwrap_or(&defaults["train_base"]) == true;
        let trainable = added + heads + if base { tiny(5).count() } else { 0 };
        assert_eq!(accounting.trainable, trainable, "{strategy} {section}");
    }
}

#[test]
fn every_trainable_parameter_gets_the_right_gradient() -> Result<()> {
    for (strategy, section, _) in sections() {
        let model = model_over(&with_dropout(0.1), strategy, &section, DType::F64);
        // At the start no gradient is missing or broken, though some are zero.
        for task in [TaskId(0), TaskId(1)] {
            check_row(&model, task, &row(&model, task)?, &format!("{strategy} {section}"));
        }
        disturb(&model, 0.1)?;
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
                        nudge(&model, name, index, offset)?;
                        let value = loss(&model, task, &mut Pass::training(Key::new(11)))
                            .map_err(candle_core::Error::msg)?
                            .to_scalar::<f64>()?;
                        nudge(&model, name, index, -offset)?;
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
        let trained = model_over(&tiny(5), strategy, &section, DType::F32);
        disturb(&trained, 0.1)?;
        let tensors = trained.params.tensors()?;
        let saved: BTreeMap<String, Tensor> = tensors.iter().cloned().collect();
        assert_eq!(saved.len(), tensors.len(), "{strategy} {section}: two tensors of one name");
        // The weights come from the file; what the encoder starts from does not matter.
        let mut loaded = model_over(&tiny(6), strategy, &section, DType::F32);
        loaded.params.assign(&saved)?;
        loaded.sharing.restore(&trained.sharing.state()?, 0)?;
        for task in [TaskId(0), TaskId(1)] {
            assert_eq!(states(&trained, task)?, states(&loaded, task)?, "{strategy} {section}");
        }
    }
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
    disturb(&trained, 0.1)?;
    let (start, encoder) = (tiny(5), trained.encoder.clone());
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
        disturb(&model, 0.1)?;
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
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 8,
        "max_position_embeddings": 16, "type_vocab_size": 1, "pad_token_id": 1,
    });
    let mut pretrained = random(&Default::default(), "roberta", &config, Key::new(5)).expect("a valid configuration");
    // A layer without weights passes every token on by itself.
    for entry in pretrained.encoder.layout(Part::Layer(0)).entries().iter().filter(|entry| entry.shape.len() == 2) {
        let Some(Flat::F32(values)) = pretrained.weights.get_mut(&Part::Layer(0)) else { panic!("single precision") };
        values[entry.range.clone()].fill(0.);
    }
    let section = json!({ "norms": false });
    let (start, moved) = (
        model_over(&pretrained, "task-norm", &section, DType::F64),
        model_over(&pretrained, "task-norm", &section, DType::F64),
    );
    nudge(&moved, "task.a/task_embedding", 0, 1.)?;
    let (before, after) = (states(&start, TaskId(0))?, states(&moved, TaskId(0))?);
    let firsts = &texts(TaskId(0)).offsets[..3];
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
    assert_eq!(moved.len(), TASKS * (LAYERS + 1));
    assert!(moved.values().all(|moved| moved == 0.), "{untouched}");

    let mixed = model("mtl-lora", &json!({ "ups": 4 }));
    disturb(&mixed, 0.1)?;
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
