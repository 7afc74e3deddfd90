//! `unify`: two single-task runs become one encoder.

use std::path::Path;

use serde_json::Value;

use crate::tool::{SMALL, good, json, refused};

fn train(here: &Path, out: &str, tasks: &str, more: &[&str]) {
    let tasks = format!("tasks=[{tasks}]");
    let own = ["--set", &tasks, "--set", "sharing.strategy=single", "--set", "weighting.rule=equal"];
    good(here, &[&["train", "embedded", "--out", out], &own[..], SMALL, more].concat());
}

#[test]
fn single_task_runs_are_merged_and_scored() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here, "topic", "\"planted-topic\"", &[]);
    train(here, "genre", "\"planted-genre\"", &[]);
    let report = json(&good(here, &["unify", "topic", "genre", "--out", "merged", "--json"]));
    let merged = report["merged"].as_object().expect("candidates");
    let named = ["separate", "ancestor", "average", "ties", "dare", "slerp", "tsv-merge", "iso-c", "emr", "svd-deltas"];
    for name in named {
        let own = &merged[name];
        for task in ["planted-topic", "planted-genre"] {
            let score = own["scores"][task].as_f64().expect("a score");
            assert!((0.0..=1.0).contains(&score), "{name} on {task}: {score}");
        }
    }
    assert!(!merged.contains_key("fisher") && !merged.contains_key("regmean"), "{report}");
    // What the runs answer themselves, before and after the merge, and how much is stored.
    for (run, task) in [("topic", "planted-topic"), ("genre", "planted-genre")] {
        let scores = json(&good(here, &["evaluate", run, "--json"]));
        let metric = report["metrics"][task].as_str().expect("a metric");
        assert_eq!(scores[task][metric], merged["separate"]["scores"][task], "{task}");
    }
    let encoders = |name: &str| merged[name]["encoders"].as_f64().expect("a number");
    assert_eq!((encoders("separate"), encoders("average"), encoders("ancestor")), (2.0, 1.0, 1.0));
    assert!((2.06..2.07).contains(&encoders("emr")), "two and a mask each: {}", encoders("emr"));
    assert!((1.0..1.6).contains(&encoders("svd-deltas")), "{}", encoders("svd-deltas"));

    let file = |name: &str| here.join("merged").join(name);
    for name in ["ties/model.safetensors", "ties/config.json", "ties/tokenizer.json", "scores.json"] {
        assert!(file(name).is_file(), "{name}");
    }
    assert!(file("ties/tasks/planted-topic/head.safetensors").is_file());
    assert!(file("emr/tasks/planted-genre/model.safetensors").is_file());
    assert!(!file("ties/tasks/planted-genre/model.safetensors").exists());
    assert_eq!(json(&std::fs::read_to_string(file("scores.json")).expect("scores")), report);

    // The average is of what the runs keep.
    let kept = |run: &str| {
        let tensors =
            mtl_train::read_tensors(&here.join(run).join("checkpoints/best/model.safetensors")).expect("weights");
        let query = tensors.into_iter().find(|(name, _)| name.ends_with("layer.1.attention.self.query.weight"));
        query.expect("a query").1.flatten_all().and_then(|query| query.to_vec1::<f32>()).expect("numbers")
    };
    let (topic, genre) = (kept("topic"), kept("genre"));
    assert_ne!(topic, genre);
    let average = mtl_train::read_tensors(&file("average/model.safetensors")).expect("weights");
    let query =
        average.iter().find(|(name, _)| name.ends_with("layer.1.attention.self.query.weight")).expect("a query");
    let query: Vec<f32> = query.1.flatten_all().and_then(|query| query.to_vec1()).expect("numbers");
    let right = topic.iter().zip(&genre).map(|(a, b)| (a + b) / 2.0);
    assert!(query.len() == topic.len() && query.iter().zip(right).all(|(found, right)| (found - right).abs() < 1e-6));

    // All of the singular values are the models themselves.
    let all = ["unify", "topic", "genre", "--method", "tsv-c", "--set", "svd-deltas.rank=1.0", "--json"];
    let exact = json(&good(here, &all));
    assert_eq!(exact["merged"]["svd-deltas"]["scores"], merged["separate"]["scores"]);
    assert_eq!(exact["merged"]["svd-deltas"]["settings"]["rank"], Value::from(1.0));
    let table = good(here, &["unify", "topic", "genre", "--method", "average"]);
    assert!(table.starts_with("| dev | planted-topic") && table.contains("\n| average | "), "{table}");
}

#[test]
fn what_cannot_be_merged_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here, "topic", "\"planted-topic\"", &[]);
    train(here, "other", "\"planted-genre\"", &["--set", "train.seed=9"]);
    train(here, "both", "\"planted-topic\", \"planted-genre\"", &[]);
    refused(here, &["unify", "topic", "other"], &["`planted-topic` and `planted-genre` began from different encoder"]);
    refused(here, &["unify", "topic", "both"], &["both: the run has 2 tasks, planted-topic, planted-genre"]);
    refused(here, &["unify", "topic", "topic"], &["two models are called `planted-topic`"]);
    refused(
        here,
        &["unify", "topic", "other", "--method", "tie"],
        &["unknown merging method `tie` (did you mean `ties`?)"],
    );
    refused(here, &["unify", "topic", "other", "--set", "ties=1"], &["expected METHOD.KEY=VALUE"]);
    refused(here, &["unify", "topic", "other", "--out", "topic"], &["there are files in it"]);
}
