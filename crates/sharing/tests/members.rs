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
use support::LAYERS;
use support::small::{self as tiny, all_logits, model, penalty_row, pretrained, row, saved, try_model};

const HIDDEN: usize = 12;
/// Outputs of the three tasks' heads, see `small::small_tasks`.
const OUTPUTS: [usize; 3] = [2, 3, 4];

fn part(part: Part) -> usize {
    pretrained().weights[&part].len()
}

fn encoder() -> usize {
    pretrained().count()
}

fn layer() -> usize {
    part(Part::Layer(0))
}

fn heads() -> usize {
    OUTPUTS.iter().map(|outputs| outputs * (HIDDEN + 1)).sum()
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
    tiny::disturb(&built, 0.1)?;
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
    holds("hierarchical", json!({ "layers": { "t0": 1, "t1": 1, "t2": 2 } }), encoder() - layer())?;
    holds("hierarchical", json!({ "mix": true }), encoder() + (1..=LAYERS).map(|level| level + 2).sum::<usize>())?;
    holds("hierarchical", json!({ "labels": true, "mix": true }), encoder() + 5 * HIDDEN + 12)?;
    refused("hierarchical", json!({ "layers": { "t0": 4 } }), "the encoder has 3");
    refused("hierarchical", json!({ "layers": { "t9": 1 } }), "the tasks are t0, t1, t2");
    refused("hierarchical", json!({ "layers": { "t0": 0 } }), "counted from 1");
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
    let built = model("sluice", json!({}), 2);
    tiny::agrees_with_finite_differences(&built, 1e-6)?;
    refused("sluice", json!({ "limit": 2 }), "limit = 3");
    refused("sluice", json!({ "orthogonality": -1.0 }), "from 0 on");
    Ok(())
}

/// With equal encoders a balanced unit leaves the state as it is, and α mixes by task and by half, as the paper says.
#[test]
fn units_mix_tasks_by_subspace() -> Result<()> {
    let whole = model("cross-stitch", json!({ "init": "balanced" }), 3);
    let single = model("single", json!({}), 3);
    assert!(tiny::distance(&whole, &single)? < 1e-12);
    let halves = model("sluice", json!({ "init": "identity", "layers": "top", "orthogonality": 0.0 }), 3);
    assert!(tiny::distance(&halves, &single)? < 1e-12);
    let rows = |model: &Model| -> Result<Vec<Vec<f64>>> {
        model.sharing.represent(TaskId(0), &tiny::texts(), &mut Pass::evaluation())?.to_vec2()
    };
    let before = rows(&halves)?;
    // In the last unit, task 0's first half is taken from task 1's second half: with equal encoders its own.
    let unit = format!("shared/unit.{}", LAYERS - 1);
    tiny::nudge(&halves, &unit, 0, -1.)?;
    tiny::nudge(&halves, &unit, 3, 1.)?;
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
    let built = model("dselect-k", json!({ "entropy": 0.3 }), 3);
    tiny::agrees_with_finite_differences(&built, 1e-6)?;
    tiny::disturb(&built, 0.1)?;
    tiny::agrees_with_finite_differences(&built, 1e-6)?;
    refused("dselect-k", json!({ "experts": 3 }), "such as 4");
    refused("dselect-k", json!({ "selectors": 5 }), "1 to 4");
    Ok(())
}

/// A decided task runs its experts alone.
#[test]
fn selectors_that_have_decided_name_one_expert_each() -> Result<()> {
    let built = model("dselect-k", json!({}), 3);
    // The first bit is the high one: codes 10 and 01 are experts 2 and 1.
    let codes = built.params.get("task.t0/selectors.codes").expect("inserted");
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
    // One layer and rank 1, the least there is, are 8 % above a third of this encoder.
    let count = 3 * (23 + HIDDEN + part(Part::Embeddings) + layer());
    holds("single-small", json!({ "tolerance": 0.1 }), count)?;
    refused("single-small", json!({}), "train fewer tasks");
    refused("single-small", json!({ "tolerance": 0.0 }), "0.01 is usual");
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
        let (sites, section) = (tiny::small_tasks(tasks), json!({}));
        let built = Model::build(
            mtl_sharing::find("single-small").expect("a strategy"),
            &section,
            &head,
            &pretrained,
            sites,
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
        assert!(tiny::logits(&built, 0)?.iter().all(|value| value.is_finite()));
    }
    Ok(())
}

fn length(model: &Model, name: &str) -> usize {
    model.params.get(name).expect("a known parameter").layout().len()
}
