//! Models leave and come back: folders of transformers and sentence-transformers.

use std::path::Path;

use crate::tool::{SMALL, fed, good, json, refused};

fn train(here: &Path, out: &str, more: &[&str]) {
    good(here, &[&["train", "embedded", "--out", out], SMALL, more].concat());
}

/// Answers of `run` to some texts of the planted suite, which a tagging task reads word by word.
fn answers(here: &Path, run: &str, task: &str) -> Vec<serde_json::Value> {
    let texts = "suba sube suba\nmiro tela\nsube nola suba rika\n";
    let out = fed(here, &["predict", run, "--task", task, "--json"], texts).out;
    out.lines().map(json).collect()
}

/// Every number of two answers within 1e-5 of each other, everything else the same.
fn alike(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    match (a, b) {
        (serde_json::Value::Number(a), serde_json::Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() < 1e-5)
        }
        (serde_json::Value::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| alike(value, other)))
        }
        _ => a == b,
    }
}

/// Exports a task, imports it, and holds answers and dev scores to those of the run that it left.
fn there_and_back(here: &Path, run: &str, task: &str, format: &str) {
    let (to, back) = (format!("{run}-{task}"), format!("{run}-{task}-back"));
    good(here, &["export", run, "--to", &to, "--task", task, "--format", format]);
    good(here, &["import", &to, "--task", task, "--out", &back]);
    let (one, other) = (answers(here, run, task), answers(here, &back, task));
    assert!(!one.is_empty() && one.iter().zip(&other).all(|(a, b)| alike(a, b)), "{task}: {one:?}\n{other:?}");
    let scores = |run: &str| json(&good(here, &["evaluate", run, "--limit", "60", "--json"]))[task].clone();
    assert!(alike(&scores(run), &scores(&back)), "{task}: {} and {}", scores(run), scores(&back));
}

#[test]
fn every_kind_of_task_leaves_and_comes_back_with_its_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here, "run", &["--set", "head.pooling=cls", "--set", "task.planted-mood.head.hidden=8"]);
    for task in ["planted-topic", "planted-mood", "planted-tags"] {
        there_and_back(here, "run", task, "transformers");
    }
    let card = std::fs::read_to_string(here.join("run-planted-topic/README.md")).expect("a card");
    for part in
        ["license: [\"mit\",\"apache-2.0\"]", "model-index", "| `planted-topic` | accuracy |", "seed 0", "mtl train"]
    {
        assert!(card.contains(part), "`{part}` is missing in: {card}");
    }
    let config = json(&std::fs::read_to_string(here.join("run-planted-mood/config.json")).expect("a configuration"));
    assert_eq!(
        (&config["problem_type"], &config["architectures"][0]),
        (&"regression".into(), &"BertForSequenceClassification".into())
    );
    // Heads over the mean of the states, of a strategy that changes weights.
    train(here, "mean", &["--set", "sharing.strategy=lora", "--set", "weighting.rule=equal", "--set", "head.hidden=8"]);
    there_and_back(here, "mean", "planted-genre", "sentence-transformers");
    there_and_back(here, "mean", "planted-mood", "auto");
    // Tasks that keep the weights of steps of their own.
    train(here, "kept", &["--set", "evaluation.keep=each", "--set", "evaluation.every=3", "--set", "head.pooling=cls"]);
    there_and_back(here, "kept", "planted-genre", "auto");
    there_and_back(here, "kept", "planted-tags", "auto");
}

#[test]
fn a_whole_run_is_an_encoder_with_heads_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here, "run", &[]);
    good(here, &["export", "run", "--to", "whole"]);
    let tasks = json(&std::fs::read_to_string(here.join("whole/tasks.json")).expect("a list"));
    let heads: Vec<&str> =
        tasks["tasks"].as_array().expect("tasks").iter().filter_map(|task| task["folder"].as_str()).collect();
    assert_eq!(heads.len(), 5);
    assert!(heads.iter().all(|head| here.join("whole").join(head).join("model.safetensors").exists()));
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "modules.json", "README.md"]
    {
        assert!(here.join("whole").join(file).exists(), "{file}");
    }
    refused(here, &["export", "run", "--to", "whole"], &["not empty", "--to"]);
    refused(here, &["import", "whole", "--task", "planted-topic"], &["a whole run", "--task"]);
    let named = ["planted-topic", "the mean", "head.pooling = \"cls\"", "sentence-transformers"];
    refused(here, &["export", "run", "--to", "one", "--task", "planted-topic", "--format", "transformers"], &named);
    refused(here, &["export", "run", "--to", "one", "--format", "transformers"], &["--task", "--each"]);
    train(here, "other", &["--set", "head.pooling=cls", "--set", "head.hidden=8", "--set", "head.activation=relu"]);
    let named = ["head.activation = \"tanh\"", "--format sentence-transformers"];
    refused(here, &["export", "other", "--to", "one", "--task", "planted-topic"], &named);
    there_and_back(here, "other", "planted-topic", "sentence-transformers");
    // What an encoder has no place for, and tasks that do not share one.
    train(here, "pal", &["--set", "sharing.strategy=pal", "--set", "sharing.width=6"]);
    refused(here, &["export", "pal", "--to", "one", "--each"], &["`pal`", "more than a change", "lora"]);
    train(here, "single", &["--set", "sharing.strategy=single", "--set", "weighting.rule=equal"]);
    refused(here, &["export", "single", "--to", "one"], &["do not see the same encoder", "--each"]);
    assert!(!here.join("one").exists());
    let left = here
        .read_dir()
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".writing"));
    assert_eq!(left.count(), 0);
    // Labels that are not the dataset's, and a task of another kind.
    good(here, &["export", "single", "--to", "topic", "--task", "planted-topic"]);
    refused(here, &["import", "topic", "--task", "planted-genre", "--out", "none"], &["its outputs are", "--labels"]);
    refused(here, &["import", "topic", "--task", "planted-mood", "--out", "none"], &["single_label", "`regression`"]);
    refused(here, &["import", "topic", "--task", "planted-topic", "--labels", "a,b"], &["2 labels", "4 outputs"]);
}
