//! Every rule against answers that were not made by this code: `golden/definitions.json` (numpy and scipy, `make.py`),
//! `golden/torchjd.json` (`docs/benches/peers/rule_traces.py`), `golden/conflicts.json` (cvxpy, `conflicts.py`), and the project's shared vectors where they lie beside
//! the workspace.
#![allow(clippy::print_stdout, reason = "what is skipped is said aloud")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mtl_task::Registry;
use mtl_task::rng::Key;
use mtl_task::{Likelihood, Progress};
use mtl_weighting::{Dense, Jacobian, Rule, StepInputs, Weighting};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    rule: String,
    params: Value,
    #[serde(alias = "relative_tolerance")]
    tolerance: f64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    losses: Vec<f64>,
    losses_after: Option<Vec<f64>>,
    /// `draws` in the files of the oracles.
    #[serde(default, alias = "draws")]
    mini_batches: Vec<Vec<Vec<f64>>>,
    weights: Option<Vec<f64>>,
    direction: Option<Vec<f64>>,
    /// What a distance is relative to where the direction may be 0.
    scale: Option<f64>,
}

/// Euclidean distance relative to the right answer, or to `scale`.
fn distance(found: &[f64], right: &[f64], scale: Option<f64>) -> f64 {
    assert_eq!(found.len(), right.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut found.iter().zip(right).map(|(a, b)| a - b)) / scale.unwrap_or_else(|| norm(&mut right.iter().copied()))
}

fn play(case: &Case) {
    let rules = Registry::<Rule>::default();
    let entry = rules.find(&case.rule).expect("a rule of the registry");
    let tasks = case.steps[0].losses.len().max(case.steps[0].mini_batches.first().map_or(0, Vec::len));
    let mut rule = (entry.build)(tasks, &case.params).expect("the case's settings");
    for (number, step) in case.steps.iter().enumerate() {
        let mini_batches: Vec<Dense> =
            step.mini_batches.iter().map(|rows| Dense::new(rows.clone()).expect("a matrix")).collect();
        let seen = StepInputs {
            losses: &step.losses,
            likelihood: &vec![Likelihood::Gaussian; tasks],
            progress: Progress { step: number, of: case.steps.len() },
            key: Key::new(0).with(number as u64),
        };
        let mut direction = Vec::new();
        let outcome = match &mut rule {
            Weighting::Losses(rule) => rule.weights(&seen),
            Weighting::Gram(rule) => {
                let rows: Vec<&[f64]> =
                    mini_batches.iter().flat_map(|draw| (0..tasks).map(|task| draw.row(task))).collect();
                rule.weights(&mtl_weighting::Gram::of_rows(&rows), &seen)
            }
            Weighting::Jacobian(rule) => {
                let mini_batches: Vec<&dyn Jacobian> = mini_batches.iter().map(|draw| draw as &dyn Jacobian).collect();
                rule.direction(&mini_batches, &seen, &mut |_, part| direction.extend(part))
            }
        };
        if direction.is_empty() && !mini_batches.is_empty() {
            direction = mini_batches[0].combine(&outcome.weights);
        }
        for (what, right, found) in
            [("weights", &step.weights, &outcome.weights), ("direction", &step.direction, &direction)]
        {
            let Some(right) = right.as_ref().filter(|_| !found.is_empty()) else { continue };
            let off = distance(found, right, step.scale);
            assert!(
                off <= case.tolerance,
                "{} {} step {number}: {what} off by {off:.1e}, allowed {:.0e}\n found {found:?}\n right {right:?}\n {outcome:?}",
                case.rule,
                case.params,
                case.tolerance
            );
        }
        if let Some(losses) = &step.losses_after {
            rule.losses_after_step(losses);
        }
    }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn committed(name: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let mut file = read(&path);
    serde_json::from_value(file["cases"].take()).expect("cases")
}

/// The shared vectors, or `None` with a word on it.
fn shared(name: &str) -> Option<Value> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden").join(name);
    if !path.exists() {
        println!("skipped: no ../shared/golden/{name} beside the workspace");
        return None;
    }
    Some(read(&path))
}

#[test]
fn rules_follow_their_definitions() {
    let cases = committed("definitions.json");
    assert!(cases.len() > 80);
    cases.iter().for_each(play);
}

/// Opposite, dependent and duplicate gradients, many with 0 in their hull.
#[test]
fn rules_follow_cvxpy_where_gradients_conflict() {
    let cases = committed("conflicts.json");
    assert!(cases.len() > 150);
    cases.iter().for_each(play);
}

#[test]
fn rules_follow_torchjd() {
    let cases = committed("torchjd.json");
    assert!(cases.len() > 30);
    cases.iter().for_each(play);
}

#[test]
fn rules_match_the_shared_vectors() {
    let Some(file) = shared("rules.json") else { return };
    let mut played = BTreeSet::new();
    for case in file["cases"].as_array().expect("cases") {
        let name = case["rule"].as_str().expect("a name");
        let mut params = case["params"].clone();
        if name == "nash" || name == "fairgrad" {
            params["max_norm"] = json!("none");
        }
        let matrix = &file["jacobians"][case["matrix"].as_str().expect("a matrix")];
        let step = json!({"mini_batches": [matrix], "weights": case["weights"], "direction": case["direction"]});
        let tolerance = &case["relative_tolerance"];
        let case = json!({"rule": name, "params": params, "tolerance": tolerance, "steps": [step]});
        play(&serde_json::from_value(case).expect("a case"));
        played.insert(name.to_owned());
    }
    println!("{} rules match: {played:?}", played.len());
    assert!(played.len() >= 12);
}

#[test]
fn rules_match_the_shared_traces() {
    let Some(file) = shared("traces.json") else { return };
    let mut played = BTreeSet::new();
    for trace in file["traces"].as_array().expect("traces") {
        let mut case = trace.clone();
        if trace["steps"].is_null() {
            case["steps"] = json!([{"mini_batches": [trace["jacobian"]], "direction": trace["direction"]}]);
        }
        play(&serde_json::from_value(case).expect("a case"));
        played.insert(trace["rule"].as_str().expect("a name").to_owned());
    }
    println!("{} rules match: {played:?}", played.len());
    assert!(played.len() >= 6);
}
