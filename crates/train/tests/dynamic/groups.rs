//! Groups of tasks in training: given ones are the runs that they would be apart, found ones part as the evidence says.

use std::collections::BTreeMap;

use candle_core::Tensor;
use mtl_sharing::{Strategy, TaskSet};
use mtl_train::Trainer;
use serde_json::json;

use crate::apart::{strategy, tensors, train, trainer};
use crate::tiny::{Break, hash, located, new, recipe};

fn optimizer(trainer: &Trainer) -> BTreeMap<String, Vec<f64>> {
    let state = trainer.optimizer_state().expect("moments");
    let values = |tensor: Tensor| {
        let tensor = tensor.to_dtype(candle_core::DType::F64).and_then(|tensor| tensor.flatten_all());
        tensor.and_then(|tensor| tensor.to_vec1::<f64>()).expect("numbers")
    };
    state.into_iter().map(|(name, tensor)| (name, values(tensor))).collect()
}

const ALL: [usize; 3] = [0, 1, 2];

fn groups() -> &'static Strategy {
    strategy("groups")
}

#[test]
fn the_corners_are_hard_and_single_with_their_moments() {
    let corners = [
        (json!([["topic", "mood", "tags"]]), "hard", &["equal", "uncertainty", "nash", "graddrop"][..]),
        (json!([["topic"], ["mood"], ["tags"]]), "single", &["equal", "uncertainty"][..]),
    ];
    for (partition, other, rules) in corners {
        for rule in rules {
            let (mut grouped, data) = trainer(groups(), json!({ "partition": partition }), rule, &ALL);
            let (mut same, _) = trainer(strategy(other), json!({}), rule, &ALL);
            assert_eq!(train(&mut grouped, &data, 0..4), train(&mut same, &data, 0..4), "{other}, {rule}");
            assert_eq!(tensors(&grouped), tensors(&same), "{other}, {rule}");
            assert_eq!(optimizer(&grouped), optimizer(&same), "{other}, {rule}");
        }
    }
}

#[test]
fn a_pair_and_a_task_alone_are_two_runs_under_a_rule_that_bargains() {
    for rule in ["equal", "nash"] {
        let partition = json!([["topic", "mood"], ["tags"]]);
        let (mut grouped, data) = trainer(groups(), json!({ "partition": partition }), rule, &ALL);
        let (mut pair, of_pair) = trainer(strategy("hard"), json!({}), rule, &[0, 1]);
        let (mut alone, of_one) = trainer(strategy("single"), json!({}), "equal", &[2]);
        train(&mut grouped, &data, 0..4);
        train(&mut pair, &of_pair, 0..4);
        train(&mut alone, &of_one, 0..4);
        let found = tensors(&grouped);
        for (name, values) in tensors(&pair) {
            let name = name.replace("shared/", "group.topic+mood/");
            assert!(found[&name] == values, "{rule}: {name}");
        }
        for (name, values) in tensors(&alone) {
            assert!(found[&name] == values, "{rule}: {name}");
        }
    }
}

/// A run that parts: `topic` and `genre` want the same of the same words, `clash` the opposite.
const PLANTED: [&str; 9] = [
    "tasks=[\"topic\", \"clash\", \"genre\"]",
    "sharing.strategy=groups",
    "sharing.warmup_steps=20",
    "optimizer.groups.head.scale=1",
    "optimizer.rate=2e-3",
    "train.batch=16",
    "train.steps=24",
    "train.dropout=0.0",
    "evaluation.test=sealed",
];

#[test]
fn planted_conflict_parts_who_wants_the_opposite_and_a_break_at_any_time_changes_nothing() {
    let place = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&PLANTED);
    let whole = place.path().join("whole");
    let report = match new(&recipe, &whole, false).expect("a run").execute(&mut mtl_train::Silent).expect("trained") {
        mtl_train::Ended::Finished(report) => report,
        mtl_train::Ended::Interrupted(step) => panic!("interrupted behind step {step}"),
    };
    assert_eq!(report.findings["groups"], json!([["topic", "genre"], ["clash"]]), "{}", report.findings);
    assert_eq!(report.findings["evidence"].as_array().map(Vec::len), Some(3), "{}", report.findings);
    for step in [7, 19, 20, 22] {
        let broken = place.path().join(format!("broken-{step}"));
        let ended = new(&recipe, &broken, false).expect("a run").execute(&mut Break { at: step, now: 0 });
        assert!(matches!(ended.expect("trained"), mtl_train::Ended::Interrupted(at) if at == step));
        let ended = new(&recipe, &broken, true).expect("resumed").execute(&mut mtl_train::Silent).expect("trained");
        let mtl_train::Ended::Finished(again) = ended else { panic!("interrupted") };
        assert_eq!(again.findings, report.findings);
        for file in ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "structure.json"] {
            assert_eq!(hash(&broken, file), hash(&whole, file), "{file} after a break behind step {step}");
        }
    }
    let trained = mtl_train::Trained::open(&Default::default(), &whole, &candle_core::Device::Cpu).expect("it opens");
    let owners: Vec<TaskSet> = trained.model().topology.components();
    assert_eq!(owners.into_iter().map(Vec::from).collect::<Vec<Vec<usize>>>(), [vec![0, 2], vec![1]]);
    assert_eq!(located(&recipe).datasets.len(), 3);
}
