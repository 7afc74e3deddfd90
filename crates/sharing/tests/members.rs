//! What every strategy of this family owes: the parameters that its docs count, a finite gradient for each, and the
//! same answers from saved tensors.

mod support;

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Part, Pass};
use mtl_sharing::{HeadSettings, Model};
use mtl_task::TaskId;
use mtl_task::rng::Key;
use serde_json::{Value, json};
use support::by_hand::{self, all_logits, model, penalty_row, row, saved, try_model};
use support::{HIDDEN, LAYERS, VOCABULARY, tasks, texts, tiny};

fn part(part: Part) -> usize {
    tiny(5).weights[&part].len()
}

fn encoder() -> usize {
    tiny(5).count()
}

fn layer() -> usize {
    part(Part::Layer(0))
}

fn heads() -> usize {
    tasks(3).iter().map(|task| task.outputs * (HIDDEN + 1)).sum()
}

/// Three tasks under `strategy`: `count` parameters beside the heads, all reached, all with a finite gradient.
fn holds(strategy: &str, section: Value, count: usize) -> Result<()> {
    let built = model(strategy, section.clone(), 3);
    assert_eq!(built.params.count(), count + heads(), "{strategy} {section}");
    let mut reached = BTreeSet::new();
    for task in 0..3 {
        let row = row(&built, task)?;
        let reach = built.reach(TaskId(task));
        for (name, segment) in &row.0 {
            assert!(reach.contains(name), "{strategy}: task {task} has a gradient of {name}, which it does not reach");
            assert_eq!(segment.values().first_non_finite(), None, "{strategy}: gradient of {name}");
        }
        reached.extend(row.0.into_keys());
        assert!(reach.iter().all(|name| built.params.get(name).is_some()), "{strategy}: reach names no parameter");
    }
    for param in built.params.iter().filter(|param| param.trainable()) {
        assert!(reached.contains(param.name()), "{strategy} {section}: no gradient of {}", param.name());
    }
    for (name, segment) in penalty_row(&built)?.0 {
        assert_eq!(segment.values().first_non_finite(), None, "{strategy}: penalty's gradient of {name}");
    }
    by_hand::disturb(&built, 0.1)?;
    let tensors = saved(&built)?;
    let twin = model(strategy, section.clone(), 3);
    assert_ne!(all_logits(&twin)?, all_logits(&built)?, "{strategy}: the disturbance changed nothing");
    twin.params.assign(&tensors)?;
    assert_eq!(all_logits(&twin)?, all_logits(&built)?, "{strategy} {section}: reloaded");
    let single = try_model(strategy, section, 3, DType::F32).expect("f32 as well");
    assert!(all_logits(&single)?.concat().iter().all(|value| value.is_finite()));
    Ok(())
}

fn refused(strategy: &str, section: Value, because: &str) {
    let entry = mtl_sharing::find(strategy).expect("registered");
    let error = (entry.check)(&section, 3)
        .err()
        .or_else(|| try_model(strategy, section.clone(), 3, DType::F64).err())
        .unwrap_or_else(|| panic!("{strategy} {section} was accepted"));
    assert!(format!("{error:#}").contains(because), "{error:#}");
}

#[test]
fn hierarchical() -> Result<()> {
    holds("hierarchical", json!({}), encoder())?;
    holds("hierarchical", json!({ "layers": { "a": 1, "b": 1, "c": 2 } }), encoder() - layer())?;
    holds("hierarchical", json!({ "mix": true }), encoder() + (1..=LAYERS).map(|level| level + 2).sum::<usize>())?;
    holds("hierarchical", json!({ "labels": true, "mix": true }), encoder() + 5 * HIDDEN + 12)?;
    refused("hierarchical", json!({ "layers": { "a": 4 } }), "the encoder has 3");
    refused("hierarchical", json!({ "layers": { "x": 1 } }), "the tasks are a, b, c");
    refused("hierarchical", json!({ "layers": { "a": 0 } }), "counted from 1");
    Ok(())
}

#[test]
fn soft() -> Result<()> {
    holds("soft", json!({}), 3 * encoder())?;
    for unfolding in ["laf", "tucker", "tt"] {
        holds("soft", json!({ "coupling": "trace-norm", "unfolding": unfolding }), 3 * encoder())?;
    }
    refused("soft", json!({ "strength": -1.0 }), "from 0 on");
    refused("soft", json!({ "strength": "infinity" }), "proximal = true");
    refused("soft", json!({ "coupling": "trace-norm", "proximal": true }), "L2 couplings");
    refused("soft", json!({ "coupling": "trace-norm", "smoothing": 0.0 }), "above 0");
    Ok(())
}

#[test]
fn cross_stitch() -> Result<()> {
    for init in ["balanced", "imbalanced", "identity"] {
        holds("cross-stitch", json!({ "init": init }), 3 * encoder() + LAYERS * 9)?;
    }
    refused("cross-stitch", json!({ "limit": 2 }), "9 encoder passes");
    refused("cross-stitch", json!({ "init": "random" }), "balanced");
    Ok(())
}

#[test]
fn sluice() -> Result<()> {
    for init in ["balanced", "imbalanced"] {
        holds("sluice", json!({ "init": init, "layers": init }), 3 * encoder() + LAYERS * (36 + 3))?;
    }
    assert!(model("sluice", json!({}), 2).sharing.penalty()?.is_none());
    let built = model("sluice", json!({ "orthogonality": 0.1 }), 2);
    by_hand::agrees_with_finite_differences(&built, 1e-6)?;
    refused("sluice", json!({ "limit": 2 }), "limit = 3");
    refused("sluice", json!({ "orthogonality": -1.0 }), "from 0 on");
    Ok(())
}

/// With equal encoders a balanced unit leaves the state as it is, and α mixes by task and by half, as the paper says.
#[test]
fn units_mix_tasks_by_subspace() -> Result<()> {
    let whole = model("cross-stitch", json!({ "init": "balanced" }), 3);
    let single = model("single", json!({}), 3);
    assert!(by_hand::distance(&whole, &single)? < 1e-12);
    let halves = model("sluice", json!({ "init": "identity", "layers": "top", "orthogonality": 0.0 }), 3);
    assert!(by_hand::distance(&halves, &single)? < 1e-12);
    let rows = |model: &Model| -> Result<Vec<Vec<f64>>> {
        model.sharing.represent(TaskId(0), &texts(TaskId(0)), &mut Pass::evaluation())?.to_vec2()
    };
    let before = rows(&halves)?;
    // In the last unit, task 0's first half is taken from task 1's second half: with equal encoders its own.
    let unit = format!("shared/unit.{}", LAYERS - 1);
    by_hand::nudge(&halves, &unit, 0, -1.)?;
    by_hand::nudge(&halves, &unit, 3, 1.)?;
    for (before, after) in before.iter().zip(rows(&halves)?) {
        assert_eq!(after[..HIDDEN / 2], before[HIDDEN / 2..]);
        assert_eq!(after[HIDDEN / 2..], before[HIDDEN / 2..]);
    }
    Ok(())
}

#[test]
fn mmoe() -> Result<()> {
    for gate in ["text", "token"] {
        holds("mmoe", json!({ "gate": gate }), encoder() + 3 * layer() + 3 * 4 * HIDDEN)?;
    }
    holds("mmoe", json!({ "experts": 2, "layers": 2 }), encoder() + 2 * layer() + 3 * 2 * HIDDEN)?;
    refused("mmoe", json!({ "experts": 0 }), "at least one");
    refused("mmoe", json!({ "layers": 4 }), "1 to 3");
    Ok(())
}

#[test]
fn ple() -> Result<()> {
    holds("ple", json!({}), encoder() + 2 * layer() * 3 + HIDDEN * (2 * 3 * 2 + 4))?;
    let section = json!({ "levels": 3, "shared_experts": 2, "gate": "token" });
    holds("ple", section, encoder() + 3 * layer() * 4 + HIDDEN * (3 * 3 * 3 + 2 * 5))?;
    let section = json!({ "levels": 1, "layers": 2, "task_experts": 2 });
    holds("ple", section, encoder() + 2 * layer() * 6 + HIDDEN * 3 * 3)?;
    refused("ple", json!({ "shared_experts": 0 }), "shared stream");
    refused("ple", json!({ "levels": 4 }), "4 levels");
    Ok(())
}

#[test]
fn dselect_k() -> Result<()> {
    holds("dselect-k", json!({}), encoder() + 3 * layer() + 3 * 2 * 3)?;
    holds("dselect-k", json!({ "experts": 2, "selectors": 1 }), encoder() + layer() + 3 * 2)?;
    holds("dselect-k", json!({ "gate": "example" }), encoder() + 3 * layer() + 3 * 2 * 3 * (1 + HIDDEN))?;
    let built = model("dselect-k", json!({ "entropy": 0.3, "width": 1.0 }), 3);
    by_hand::agrees_with_finite_differences(&built, 1e-6)?;
    by_hand::disturb(&built, 0.1)?;
    by_hand::agrees_with_finite_differences(&built, 1e-6)?;
    refused("dselect-k", json!({ "experts": 3 }), "such as 4");
    refused("dselect-k", json!({ "selectors": 5 }), "1 to 4");
    refused("dselect-k", json!({ "spread": -0.1 }), "from 0 on");
    refused("dselect-k", json!({ "gate": "token" }), "example");
    Ok(())
}

/// The gradient of task 1's loss at two elements of each of its selectors' parameters, against central differences.
#[test]
fn each_text_chooses_by_gates_of_the_right_gradient() -> Result<()> {
    let built = model("dselect-k", json!({ "gate": "example", "entropy": 0.0, "width": 1.0 }), 3);
    by_hand::disturb(&built, 0.1)?;
    let (row, mut stream) = (row(&built, 1)?, Key::new(4).stream());
    let names: Vec<&String> = row.0.keys().filter(|name| name.contains("selectors")).collect();
    assert_eq!(names.len(), 4);
    for name in names {
        let length = length(&built, name);
        for _ in 0..2 {
            let index = stream.below(length);
            let at = |by: f64| -> Result<f64> {
                by_hand::nudge(&built, name, index, by)?;
                let value = support::loss(&built, TaskId(1), &mut Pass::evaluation())
                    .map_err(candle_core::Error::msg)?
                    .to_scalar::<f64>()?;
                by_hand::nudge(&built, name, index, -by)?;
                Ok(value)
            };
            let numeric = (at(1e-5)? - at(-1e-5)?) / 2e-5;
            let exact = row.0[name].dense(length)?.at(index);
            assert!((numeric - exact).abs() < 1e-6 * (1. + exact.abs()), "{name} {index}: {numeric} {exact}");
        }
    }
    Ok(())
}

/// What comes down beside a task's loss is the gradient of the mean entropy, on its codes alone, at the loss's scale 1.
#[test]
fn undecided_texts_are_penalised_with_their_tasks_gradient() -> Result<()> {
    let rows = |entropy: f64| -> Result<mtl_backbone::TaskGradient> {
        let built = model("dselect-k", json!({ "gate": "example", "entropy": entropy }), 3);
        assert!(built.sharing.penalty()?.is_none());
        row(&built, 0)
    };
    let (without, once, thrice) = (rows(0.)?, rows(0.1)?, rows(0.3)?);
    for (name, segment) in &without.0 {
        let length = segment.values().len();
        let [a, b, c] = [segment, &once.0[name], &thrice.0[name]].map(|segment| segment.values());
        let moved = (0..length).any(|at| a.at(at) != b.at(at));
        assert_eq!(moved, name.contains("selectors.codes"), "{name}");
        for at in 0..length {
            let (one, three) = (b.at(at) - a.at(at), c.at(at) - a.at(at));
            assert!((three - 3. * one).abs() < 1e-9 * (1. + three.abs()), "{name} {at}: {one}, {three}");
        }
    }
    Ok(())
}

/// A decided task runs its experts alone.
#[test]
fn selectors_that_have_decided_name_one_expert_each() -> Result<()> {
    let built = model("dselect-k", json!({}), 3);
    // The first bit is the high one: codes 10 and 01 are experts 2 and 1.
    let codes = built.params.get("task.a/selectors.codes").expect("inserted");
    codes.var().set(&Tensor::new(&[[0.6f64, -0.6], [-0.6, 0.6]], &Device::Cpu)?)?;
    assert_eq!(built.sharing.findings()?["gates"][0], json!([0.0, 0.5, 0.5, 0.0]));
    let row = row(&built, 0)?;
    let experts = row.0.keys().filter(|name| name.contains("expert")).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(experts, ["shared/expert.1.layer.2", "shared/expert.2.layer.2"]);
    Ok(())
}

#[test]
fn mtan() -> Result<()> {
    let of = |width: usize| 3 * LAYERS * (3 * HIDDEN * width + width + HIDDEN);
    holds("mtan", json!({}), encoder() + of(64))?;
    holds("mtan", json!({ "width": 4 }), encoder() + of(4))?;
    refused("mtan", json!({ "width": 0 }), "at least one unit");
    Ok(())
}

#[test]
fn single_small() -> Result<()> {
    // One layer and rank 1 come within 1 % of a third of the encoder.
    holds("single-small", json!({}), 3 * (VOCABULARY + HIDDEN + part(Part::Embeddings) + layer()))?;
    refused("single-small", json!({ "tolerance": 0.0 }), "0.01 is usual");
    // The least there is of an encoder with few words is 8 % above a third of it.
    let config = json!({
        "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 3,
        "intermediate_size": 20, "max_position_embeddings": 16, "type_vocab_size": 2,
    });
    let pretrained =
        mtl_backbone::random(&Default::default(), "bert", &config, Key::new(5)).expect("a valid configuration");
    let built = |section: Value| support::build("single-small", &section, &pretrained, 3, DType::F64);
    assert!(built(json!({ "tolerance": 0.1 })).is_ok());
    let error = built(json!({})).err().expect("refused");
    assert!(format!("{error:#}").contains("train fewer tasks"), "{error:#}");
    Ok(())
}

#[test]
fn single_small_meets_its_share_of_a_wider_encoder() -> Result<()> {
    let config = json!({
        "vocab_size": 900, "hidden_size": 160, "num_hidden_layers": 6, "num_attention_heads": 4,
        "intermediate_size": 64, "max_position_embeddings": 16,
    });
    let pretrained =
        mtl_backbone::random(&Default::default(), "bert", &config, Key::new(5)).expect("a valid configuration");
    for (tasks, layers) in [(1, 6), (2, 3), (4, 1)] {
        let (head, device) = (HeadSettings::default(), Device::Cpu);
        let section = json!({});
        let built = Model::build(
            mtl_sharing::find("single-small").expect("a strategy"),
            &section,
            &head,
            &pretrained,
            support::tasks(tasks),
            Key::new(3),
            &device,
            DType::F32,
        )
        .expect("within a hundredth");
        let heads: usize = (0..tasks).flat_map(|task| built.head(TaskId(task))).map(|n| length(&built, &n)).sum();
        let ratio = (built.params.count() - heads) as f64 / pretrained.count() as f64;
        assert!((ratio - 1.).abs() < 0.01, "{tasks} tasks: {ratio} of one encoder");
        let findings = built.sharing.findings()?;
        assert_eq!(findings["layers"], layers);
        assert_eq!(findings["parameters"].as_u64().expect("a count") as usize * tasks, built.params.count() - heads);
        assert!(by_hand::logits(&built, 0)?.iter().all(|value| value.is_finite()));
    }
    Ok(())
}

fn length(model: &Model, name: &str) -> usize {
    model.params.get(name).expect("a known parameter").layout().len()
}
