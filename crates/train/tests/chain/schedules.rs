//! The schedules against those of transformers (`fixtures/make.py`).

use std::collections::BTreeSet;

use mtl_task::Registry;
use mtl_train::Schedule;
use mtl_train::schedule::{ScheduleKind, factor};
use serde_json::Value;

#[test]
fn rates_are_those_of_transformers_at_every_step() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/schedules.json")).expect("JSON");
    let (mut seen, schedules) = (BTreeSet::new(), Registry::<ScheduleKind>::default());
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        // Of schedules with options, those without any are ours.
        if schedules.find(name).is_err() || case["options"] != serde_json::json!({}) {
            continue;
        }
        seen.insert(name);
        let (rate, steps) = (case["rate"].as_f64().expect("a rate"), case["steps"].as_u64().expect("steps") as usize);
        let warmup_steps = case["warmup"].as_u64().expect("steps") as usize;
        let schedule = Schedule { name: name.into(), warmup_steps, warmup_ratio: 0. };
        // Its final rate is 1e-7 there whatever the base rate, and 1e-7 of the base rate here.
        let tolerance = if name == "polynomial" { 1.001e-7 } else { 1e-15 };
        for (step, expected) in case["rates"].as_array().expect("rates").iter().enumerate() {
            let (found, expected) = (
                rate * factor(&schedules, &schedule, step, steps).expect("a factor"),
                expected.as_f64().expect("a rate"),
            );
            assert!(
                (found - expected).abs() <= tolerance,
                "{name}, warm-up {warmup_steps}, step {step}: {found}, {expected}"
            );
        }
    }
    assert_eq!(seen, schedules.names().into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn a_ratio_warms_up_for_its_share_of_the_steps_rounded_up() {
    let schedule = Schedule { name: "constant_with_warmup".into(), warmup_steps: 0, warmup_ratio: 0.1 };
    let factors: Vec<f64> =
        (0..4).map(|step| factor(&Registry::default(), &schedule, step, 21).expect("a factor")).collect();
    assert_eq!(factors, [0., 1. / 3., 2. / 3., 1.]);
}
