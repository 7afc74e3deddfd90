//! The example `own-method`: a command line with a rule and a strategy that are not built in.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool::{Ended, SMALL, refused};

/// An example's binary, which `cargo test` builds beside the command line's own.
fn binary(example: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_mtl")).parent().expect("a folder").join("examples");
    folder.join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}

/// Runs an example that has to succeed; its standard output.
pub(crate) fn own(example: &str, folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(binary(example));
    command.args(arguments).current_dir(folder).env("HF_HUB_OFFLINE", "1").env("MTL_CACHE", folder.join("cache"));
    let ended: Ended = command.output().expect("the example is built").into();
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.error);
    ended.out
}

#[test]
fn a_rule_and_a_strategy_of_ones_own_are_trained_listed_and_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let set = ["--set", "weighting.rule=loudest", "--set", "sharing.strategy=half"];
    own("own-method", here, &[&["train", "embedded", "--out", "run"], SMALL, &set].concat());
    let report = std::fs::read_to_string(here.join("run/report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((report["strategy"].as_str(), report["rule"].as_str()), (Some("half"), Some("loudest")));
    let first = std::fs::read_to_string(here.join("run/metrics.jsonl")).expect("metrics");
    let first: serde_json::Value = serde_json::from_str(first.lines().next().expect("a step")).expect("JSON");
    let weights: Vec<f64> = first["weights"].as_array().expect("weights").iter().filter_map(|w| w.as_f64()).collect();
    assert!(weights.contains(&1.) && weights.iter().all(|weight| (0. ..=1.).contains(weight)), "{weights:?}");

    assert!(own("own-method", here, &["list", "strategies"]).contains("half"));
    let page = own("own-method", here, &["explain", "half"]);
    assert!(page.contains("all tasks share the lower half") && page.contains("shared_layers = 0"), "{page}");
    let scores = own("own-method", here, &["evaluate", "run"]);
    assert!(scores.contains("topic"), "{scores}");
    // The plain command line does not know them, and says so of the run too.
    refused(here, &["train", "embedded", "--set", "weighting.rule=loudest"], &["unknown weighting rule `loudest`"]);
    refused(here, &["evaluate", "run"], &["unknown"]);
}
