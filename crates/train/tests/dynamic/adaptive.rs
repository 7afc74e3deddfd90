//! Structures that are chosen in training: corners with their moments, budgets, races that a break does not change, and
//! what is told of them.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use mtl_eval::Report;
use mtl_sharing::Strategy;
use mtl_train::{Ended, Observer, Recipe, Silent, StepReport, Trainer};
use serde_json::{Value, json};

use crate::apart::{strategy, tensors, train, trainer};
use crate::tiny::{Break, hash, metrics, new, recipe};

const ALL: [usize; 3] = [0, 1, 2];

fn adaptive() -> &'static Strategy {
    strategy("adaptive")
}

fn optimizer(trainer: &Trainer) -> BTreeMap<String, Vec<f64>> {
    let values = |tensor: Tensor| {
        let tensor = tensor.to_dtype(candle_core::DType::F64).and_then(|tensor| tensor.flatten_all());
        tensor.and_then(|tensor| tensor.to_vec1::<f64>()).expect("numbers")
    };
    trainer.optimizer_state().expect("moments").into_iter().map(|(name, tensor)| (name, values(tensor))).collect()
}

#[test]
fn the_corners_are_other_strategies_with_their_moments_under_every_class_of_rule() {
    let still = |start: Value, tied: bool| json!({ "start": start, "start_tied": tied, "races": [], "interpolation": 0.0, "warmup": 0.0 });
    let (all, singles) = (json!([["topic", "mood", "tags"]]), json!([["topic"], ["mood"], ["tags"]]));
    let pair = json!([["topic", "mood"], ["tags"]]);
    let below = json!({ "words": all, "lower": all, "upper": singles });
    let rules = ["equal", "uncertainty", "famo", "nash", "pcgrad", "graddrop"];
    let corners = [
        (still(all, false), "hard", json!({}), &rules[..]),
        (still(below, false), "hard", json!({ "private_layers": 1 }), &rules[..]),
        (still(pair.clone(), false), "groups", json!({ "partition": pair }), &rules[..]),
        (still(singles.clone(), false), "single", json!({}), &rules[..2]),
        (still(singles, true), "soft", json!({}), &rules[..2]),
    ];
    for (section, other, other_section, rules) in corners {
        for rule in rules {
            let (mut found, data) = trainer(adaptive(), section.clone(), rule, &ALL);
            let (mut same, _) = trainer(strategy(other), other_section.clone(), rule, &ALL);
            assert_eq!(train(&mut found, &data, 0..4), train(&mut same, &data, 0..4), "{other}, {rule}");
            assert_eq!(tensors(&found), tensors(&same), "{other}, {rule}");
            assert_eq!(optimizer(&found), optimizer(&same), "{other}, {rule}");
        }
    }
}

/// `topic` and `genre` want the same of the same words, `clash` the opposite.
const PLANTED: [&str; 12] = [
    "tasks=[\"topic\", \"clash\", \"genre\"]",
    "sharing.strategy=adaptive",
    "optimizer.groups.head.scale=1",
    "optimizer.rate=2e-3",
    "train.batch=16",
    "train.steps=40",
    "train.dropout=0.1",
    "evaluation.test=sealed",
    "evaluation.every=10",
    "sharing.races=[0.2, 0.5]",
    "sharing.start=together",
    "sharing.adopt=false",
];

fn planted(more: &[&str]) -> Recipe {
    recipe(&[&PLANTED[..], &["sharing.race=0.1"], more].concat())
}

fn trained(recipe: &Recipe, out: &Path) -> Report {
    match new(recipe, out, false).expect("a run").execute(&mut Silent).expect("trained") {
        Ended::Finished(report) => *report,
        Ended::Interrupted(step) => panic!("interrupted behind step {step}"),
    }
}

const FILES: [&str; 4] = ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "structure.json"];

fn hashes(out: &Path) -> Vec<String> {
    FILES.iter().map(|file| hash(out, file)).collect()
}

#[test]
fn without_races_and_mixes_a_run_is_hard_sharing() {
    let place = tempfile::tempdir().expect("a folder");
    for (at, more) in [
        &["sharing.interpolation=0.0"][..],
        &["sharing.mixes=[0.0]"],
        &["sharing.interpolation=0.0", "train.accumulate=2"],
    ]
    .into_iter()
    .enumerate()
    {
        let still = planted(&[&["sharing.races=[]"], more].concat());
        let hard: Vec<&str> = PLANTED.iter().filter(|set| !set.starts_with("sharing.")).copied().collect();
        let accumulated: Vec<&str> = more.iter().filter(|set| set.starts_with("train.")).copied().collect();
        let hard = recipe(&[&hard[..], &accumulated, &["sharing.strategy=hard"]].concat());
        let (one, other) = (place.path().join(format!("still-{at}")), place.path().join(format!("hard-{at}")));
        let (found, same) = (trained(&still, &one), trained(&hard, &other));
        assert_eq!(hash(&one, FILES[0]), hash(&other, FILES[0]), "{more:?}");
        assert_eq!(hash(&one, FILES[1]), hash(&other, FILES[1]), "{more:?}");
        assert_eq!((found.steps, found.findings["steps"]["charged"].as_u64()), (same.steps, Some(0)));
    }
}

/// The events of a run, with the step that each stands at.
fn events(out: &Path) -> Vec<(usize, Value)> {
    let of = |line: Value| {
        let step = line["step"].as_u64().expect("a step") as usize;
        let events = line["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().map(|event| (step, event)).collect::<Vec<_>>()
    };
    metrics(out).into_iter().flat_map(of).collect()
}

#[test]
fn races_and_the_blend_are_paid_from_the_budget_and_told() {
    let place = tempfile::tempdir().expect("a folder");
    for rule in ["equal", "nash"] {
        let out = place.path().join(rule);
        let rule = format!("weighting.rule={rule}");
        let report = trained(&planted(&[&rule, "evaluation.keep=last"]), &out);
        let told = events(&out);
        let steps = &report.findings["steps"];
        let (main, charged) =
            (steps["of the model"].as_u64().expect("a number"), steps["charged"].as_u64().expect("a number"));
        assert_eq!((main + charged, main as usize), (40, report.steps), "what is spent is the budget");
        assert!(main >= 20, "half of it trains the model that is kept: {main}");
        let paid: u64 = told.iter().filter_map(|(_, event)| event["charged"].as_u64()).sum();
        assert_eq!(paid, charged, "{told:?}");
        let lines: Vec<u64> = metrics(&out).iter().map(|line| line["step"].as_u64().expect("a step")).collect();
        assert_eq!(lines, (0..main).collect::<Vec<u64>>(), "a line a step");

        let races: Vec<&Value> = told.iter().map(|(_, event)| event).filter(|event| event["race"].is_u64()).collect();
        assert_eq!(races.len(), 2, "{told:?}");
        let looks = races[0]["comparisons"].as_array().expect("looks");
        assert_eq!(looks.iter().map(|look| look["after"].as_u64().expect("steps")).collect::<Vec<_>>(), [2, 4]);
        for (look, arms) in looks.iter().zip([2, 1]) {
            let found = look["arms"].as_array().expect("arms");
            assert_eq!(found.len(), arms, "{look}");
            for (arm, task) in found.iter().flat_map(|arm| ["topic", "clash", "genre"].map(|task| (arm, task))) {
                let figures = &arm["tasks"][task];
                for key in ["mean", "error", "expected", "low", "high"] {
                    assert!(figures[key].as_f64().is_some_and(f64::is_finite), "{key} of {figures}");
                }
                assert!(
                    figures["expected"].as_f64().map(f64::abs) <= figures["mean"].as_f64().map(f64::abs),
                    "{figures}"
                );
                assert!(["taken", "runs on", "dropped"].contains(&arm["decision"].as_str().expect("a word")));
            }
        }
        let blend = &told.last().expect("an event").1;
        assert_eq!(blend["interpolation"], json!("ends"));
        assert_eq!(report.findings["history"], Value::Array(told.iter().map(|(_, event)| event.clone()).collect()));
        let mixes = report.findings["interpolation"].as_object().expect("mixes");
        assert_eq!(mixes.len(), 3);
        assert!(report.findings["structure over time"].as_object().is_some_and(|drawn| !drawn.is_empty()));
        // What is stored is what is needed: no more than an encoder for each task.
        let parameters = report.parameters.total as f64 / report.parameters.single_task_total as f64;
        assert!(parameters <= 1. + 1e-9, "{parameters}");
        let text = std::fs::read_to_string(out.join("report.md")).expect("a report");
        assert!(text.contains("structure over time") && text.contains("from step     0: topic+clash+genre"), "{text}");
        let trained = mtl_train::Trained::open(&Default::default(), &out, &candle_core::Device::Cpu).expect("it opens");
        assert_eq!(trained.model().sharing.partitions().len(), 3);
    }
}

/// As the defaults have it: tied copies part or become one as the words' gradients say.
const ADOPTS: [&str; 5] =
    ["sharing.start=apart", "sharing.adopt=true", "train.steps=60", "train.dropout=0.0", "sharing.warmup=0.25"];

#[test]
fn what_the_warm_up_tells_is_taken_and_a_break_anywhere_leaves_the_same_bits() {
    let place = tempfile::tempdir().expect("a folder");
    for (at, start) in ["apart", "together"].into_iter().enumerate() {
        let start = format!("sharing.start={start}");
        let recipe = recipe(&[&PLANTED[..], &ADOPTS, &["sharing.races=[0.3]", "sharing.race=0.1", &start]].concat());
        let whole = place.path().join(format!("whole-{at}"));
        let report = trained(&recipe, &whole);
        let adopted: Vec<(usize, Value)> =
            events(&whole).into_iter().filter(|(_, event)| event["adopted"].is_string()).collect();
        assert_eq!(adopted.len(), 1, "{start}: {}", report.findings);
        assert_eq!((adopted[0].0, &adopted[0].1["adopted"]), (14, &json!("topic+genre ~ clash")), "{start}");
        for step in [3, 14, 15, 16, 40] {
            let out = place.path().join(format!("broken-{at}-{step}"));
            let ended = new(&recipe, &out, false).expect("a run").execute(&mut Break { at: step, now: 0 });
            assert!(matches!(ended.expect("trained"), Ended::Interrupted(_)));
            match new(&recipe, &out, true).expect("resumed").execute(&mut Silent).expect("trained") {
                Ended::Finished(again) => assert_eq!(again.findings, report.findings),
                Ended::Interrupted(step) => panic!("interrupted behind step {step}"),
            }
            assert_eq!(hashes(&out), hashes(&whole), "{start}: a break behind step {step}");
        }
    }
}

/// Interrupts after some questions, in the middle of a race.
struct Impatient {
    asked: std::cell::Cell<usize>,
    at: usize,
}

impl Observer for Impatient {
    fn step(&mut self, _step: usize, _of: usize, _rate: f64, _report: &StepReport) {}

    fn interrupted(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() > self.at
    }
}

#[test]
fn a_break_anywhere_and_any_number_of_threads_leave_the_same_bits() {
    let place = tempfile::tempdir().expect("a folder");
    let recipe = planted(&[]);
    let whole = place.path().join("whole");
    let report = trained(&recipe, &whole);
    let expected = hashes(&whole);
    let go_on = |out: &Path| match new(&recipe, out, true).expect("resumed").execute(&mut Silent).expect("trained") {
        Ended::Finished(again) => assert_eq!(again.findings, report.findings),
        Ended::Interrupted(step) => panic!("interrupted behind step {step}"),
    };
    // The first race begins after 8 steps and asks before every step of every arm.
    for at in [5, 8, 9, 13, 17, 30] {
        let out = place.path().join(format!("impatient-{at}"));
        let mut observer = Impatient { asked: Default::default(), at };
        let ended = new(&recipe, &out, false).expect("a run").execute(&mut observer).expect("trained");
        let Ended::Interrupted(step) = ended else { panic!("it was not interrupted") };
        if at > 8 && at < 17 {
            assert_eq!(step, 8, "a race is run as a whole");
        }
        go_on(&out);
        assert_eq!(hashes(&out), expected, "a break at question {at}");
    }
    for step in [7, 12, 20, report.steps - 2] {
        let out = place.path().join(format!("broken-{step}"));
        let ended =
            new(&recipe, &out, false).expect("a run").execute(&mut Break { at: step, now: 0 }).expect("trained");
        assert!(matches!(ended, Ended::Interrupted(_)));
        go_on(&out);
        assert_eq!(hashes(&out), expected, "a break behind step {step}");
    }
    for threads in [1, 3] {
        let out = place.path().join(format!("threads-{threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| trained(&recipe, &out));
        assert_eq!(hashes(&out), expected, "{threads} threads");
    }
}

#[test]
fn every_rule_of_the_registry_goes_through_races_and_the_blend() {
    let place = tempfile::tempdir().expect("a folder");
    let (registries, mut met) = (mtl_train::Registries::default(), 0);
    let text = planted(&["train.batch=8", "evaluation.every=0"]).to_toml().expect("TOML");
    for rule in registries.rules.iter() {
        let set = [format!("weighting.rule={}", rule.name)];
        // Some rules need settings, or more tasks than three.
        let Ok((recipe, _)) = Recipe::parse(&Default::default(), "rules.toml", &text, &set) else { continue };
        let report = trained(&recipe, &place.path().join(rule.name));
        let steps = &report.findings["steps"];
        let spent = steps["of the model"].as_u64().zip(steps["charged"].as_u64()).map(|(main, charged)| main + charged);
        assert_eq!(spent, Some(40), "{}", rule.name);
        assert!(report.findings["history"].to_string().contains("winner"), "{}", rule.name);
        met += 1;
    }
    assert!(met > 20, "{met} rules");
}

#[test]
fn bounds_and_ablations_hold() {
    let place = tempfile::tempdir().expect("a folder");
    let sets: [&[&str]; 8] = [
        &["sharing.most_encoders=1.0"],
        &["sharing.proposals=random"],
        &["sharing.proposals=reversed"],
        &["sharing.joins=false", "sharing.start=[[\"topic\"], [\"clash\"], [\"genre\"]]", "sharing.start_tied=true"],
        &["sharing.tie=0.0"],
        &["sharing.shrink=false", "sharing.interpolation=0.0"],
        &["sharing.races=[]"],
        &["train.accumulate=2", "train.batch=8", "weighting.rule=pcgrad"],
    ];
    for (at, set) in sets.iter().enumerate() {
        let out = place.path().join(at.to_string());
        let report = trained(&planted(set), &out);
        let steps = &report.findings["steps"];
        let spent = steps["of the model"].as_u64().zip(steps["charged"].as_u64()).map(|(main, charged)| main + charged);
        assert_eq!(spent, Some(40), "{set:?}");
        let told = report.findings["history"].to_string();
        match at {
            0 => {
                assert!(told.contains("left out") && told.contains("nothing to try"), "{told}");
                assert_eq!(report.findings["structure over time"].as_object().map(serde_json::Map::len), Some(1));
            }
            3 => assert!(!told.contains("join ") && !told.contains("\"tie "), "{told}"),
            4 => assert!(!told.contains("tied"), "{told}"),
            6 => assert!(!told.contains("comparisons"), "{told}"),
            _ => assert!(told.contains("split off"), "{told}"),
        }
    }
    let refused = |set: &[&str], because: &str| {
        let error = new(&planted(set), &place.path().join("refused"), false).err().expect("it was taken");
        assert!(format!("{error:#}").contains(because), "{error:#}");
    };
    refused(&["sharing.race=0.3"], "less than half");
    let poor = trained(&planted(&["sharing.held_out=0.001"]), &place.path().join("poor"));
    assert!(poor.warnings.iter().any(|said| said.contains("too few to choose by")), "{:?}", poor.warnings);
    assert_eq!(poor.steps, 40);
}
