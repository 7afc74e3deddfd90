//! Predictions over tables, which come back with their columns; copies of a run that answer as it does; files of ONNX.

use std::path::Path;

use serde_json::Value;

use crate::tool::{SMALL, fed, good, json, refused, run};

fn train(here: &Path, more: &[&str]) {
    good(here, &[&["train", "embedded", "--out", "run"], SMALL, more].concat());
}

fn write(here: &Path, name: &str, text: &str) {
    std::fs::write(here.join(name), text).expect("written");
}

fn read(here: &Path, name: &str) -> String {
    std::fs::read_to_string(here.join(name)).expect("read")
}

#[test]
fn a_table_comes_back_with_its_columns_and_the_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here, &[]);
    a_comma_separated_one(here);
    json_lines(here);
    what_cannot_be_read_is_refused(here);
    copies_answer_as_the_run(here);
    onnx(here);
}

fn a_comma_separated_one(here: &Path) {
    write(here, "in.csv", "id,text,note\n1,suba sube,\"a, \"\"b\"\"\nc\"\n007,,x\n3,moba mobe,\n");
    let out = good(here, &["predict", "run", "--task", "planted-topic", "--input", "in.csv"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "id,text,note,planted-topic,planted-topic.probability");
    assert!(lines[1].starts_with("1,suba sube,\"a, \"\"b\"\"") && lines[2].starts_with("c\","), "{out}");
    assert!(lines[3].starts_with("007,,x,") && lines.len() == 5, "an empty text has an answer, too: {out}");
    // The same answers as one text a line has.
    let alone = json(&fed(here, &["predict", "run", "--task", "planted-topic", "--json"], "moba mobe\n").out);
    let cells: Vec<&str> = lines[4].split(',').collect();
    let label = alone["label"].as_str().expect("a label");
    assert_eq!(cells[3], label);
    let shown: f64 = cells[4].parse().expect("a number");
    assert!((shown - alone["scores"][label].as_f64().expect("a score")).abs() < 1e-6);
    // All tasks: values are numbers, tags stand between spaces.
    let all = good(here, &["predict", "run", "--input", "in.csv", "--output", "out.csv"]);
    assert_eq!(all, "", "what is written to a file is not printed");
    let written = read(here, "out.csv");
    let head: Vec<&str> = written.lines().next().expect("a header").split(',').collect();
    let place = |name: &str| head.iter().position(|column| *column == name).unwrap_or_else(|| panic!("{head:?}"));
    let last: Vec<&str> = written.lines().last().expect("a row").split(',').collect();
    assert_eq!((last.len(), head.len()), (12, 12));
    assert!(last[place("planted-mood")].parse::<f32>().is_ok(), "{last:?}");
    assert_eq!(last[place("planted-tags")].split(' ').count(), 2, "{last:?}");
    // From a pipe, with another column, tabs between.
    let fed = fed(
        here,
        &["predict", "run", "--task", "planted-topic", "--format", "tsv", "--text", "body"],
        "body\tid\nmoba mobe\t3\n",
    );
    assert_eq!(
        fed.out,
        format!("body\tid\tplanted-topic\tplanted-topic.probability\nmoba mobe\t3\t{label}\t{}\n", cells[4])
    );
}

fn json_lines(here: &Path) {
    let long = "moba ".repeat(40);
    let odd =
        "{\"z\": 1.0e2, \"text\": \"suba sube\", \"big\": 123456789012345678901234567890, \"a\": [null, {\"x\": 1}]}";
    write(here, "in.jsonl", &format!("\u{feff}{odd}\n\n  {{\"text\": \"{long}\"}}\n"));
    let ended = run(here, &["predict", "run", "--task", "planted-topic", "--input", "in.jsonl"]);
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 2, "a blank line is no row");
    let kept = odd.strip_suffix('}').expect("an object");
    assert!(lines[0].starts_with(&format!("{kept},\"planted-topic\":{{\"label\":")), "{}", lines[0]);
    assert!(json(lines[0])["planted-topic"]["scores"]["law"].is_f64());
    assert_eq!(ended.error, "1 of 2 texts are longer than 32 tokens (train.max_tokens); the rest of it was not read\n");
    // The text and its answer alone, as of lines.
    let alone = good(here, &["predict", "run", "--task", "planted-topic", "--input", "in.jsonl", "--json"]);
    let first = json(alone.lines().next().expect("a line"));
    assert_eq!(
        (first["text"].as_str(), &first["label"]),
        (Some("suba sube"), &json(lines[0])["planted-topic"]["label"])
    );
    write(here, "tokens.jsonl", "{\"tokens\": [\"peba\", \"fiba\"], \"id\": 4}\n");
    let ended = run(here, &["predict", "run", "--input", "tokens.jsonl"]);
    let row = json(&ended.out);
    assert_eq!((&row["id"], row["planted-tags"]["tags"].as_array().map(Vec::len)), (&Value::from(4), Some(2)));
    assert!(row.get("planted-topic").is_none(), "it finds no column: {row}");
    assert!(ended.error.contains("left out: tokens.jsonl: task `planted-topic`: no column `text`"), "{}", ended.error);
}

fn what_cannot_be_read_is_refused(here: &Path) {
    let predict = |more: &[&'static str]| [&["predict", "run", "--task", "planted-topic"], more].concat();
    refused(
        here,
        &predict(&["--input", "in.csv", "--text", "txet"]),
        &["no column `txet`", "did you mean `text`?", "--text"],
    );
    refused(here, &predict(&["--input", "in.csv", "--json"]), &["--json is for lines"]);
    refused(here, &predict(&["--text", "a"]), &["--text names a column of a table"]);
    write(here, "taken.csv", "text,planted-topic\nsuba,art\n");
    refused(here, &predict(&["--input", "taken.csv"]), &["taken.csv:2", "column `planted-topic` already", "rename"]);
    write(here, "odd.jsonl", "{\"text\": \"suba\"}\n{\"text\": null}\n");
    refused(here, &predict(&["--input", "odd.jsonl", "--output", "never.jsonl"]), &["odd.jsonl:2", "`text`", "`null`"]);
    write(here, "list.jsonl", "[1]\n");
    refused(here, &predict(&["--input", "list.jsonl"]), &["list.jsonl:1", "a JSON object was expected"]);
    write(here, "short.csv", "id,text\n1\n");
    refused(here, &predict(&["--input", "short.csv"]), &["short.csv:2", "1 field, expected 2"]);
    let left: Vec<_> = std::fs::read_dir(here).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("never.jsonl")), "{left:?}");
}

fn copies_answer_as_the_run(here: &Path) {
    let answers = |run: &str| {
        let scores = good(here, &["evaluate", run, "--json", "--answers", "answers.jsonl"]);
        (scores, read(here, "answers.jsonl"), good(here, &["predict", run, "--input", "in.csv"]))
    };
    let said = good(here, &["slim", "run"]);
    assert!(said.contains("run-slim") && said.contains(" MB, of the run's "), "{said}");
    assert_eq!(answers("run"), answers("run-slim"));
    let first = json(answers("run").1.lines().next().expect("an answer"));
    for key in ["task", "text", "truth", "label", "scores"] {
        assert!(!first[key].is_null(), "{key}: {first}");
    }
    let length = |path: &str| std::fs::metadata(here.join(path)).map_or(0, |data| data.len());
    assert!(length("run/checkpoints/best/optimizer.safetensors") > 100_000);
    assert!(length("run-slim/checkpoints/best/optimizer.safetensors") < 100);
    assert!(here.join("run-slim/report.json").exists() && !here.join("run-slim/metrics.jsonl").exists());
    refused(here, &["slim", "run"], &["run-slim", "something already"]);
    refused(here, &["push", "run", "some-org/mine"], &["HF_HUB_OFFLINE", "needs it"]);
    refused(here, &["slim", "nowhere", "--to", "x"], &["nowhere", "not a run folder"]);
    let more = [&["train", "embedded", "--out", "run-slim"], SMALL].concat();
    refused(here, &more, &["slim copies", "--out"]);
    std::fs::remove_file(here.join("run/report.json")).expect("removed");
    refused(here, &["slim", "run", "--to", "x"], &["not finished", "continues"]);
    assert!(!here.join("x").exists() && !here.join(".x.partial").exists());
}

fn onnx(here: &Path) {
    let said = good(here, &["export", "run-slim", "--onnx", "--to", "onnx"]);
    assert!(said.starts_with("model.onnx, 0.3 MB: planted-topic (probabilities), "), "{said}");
    assert!(here.join("onnx/model.onnx").exists() && here.join("onnx/tokenizer.json").exists());
    let page = json(&read(here, "onnx/tasks.json"));
    assert_eq!(page["max_tokens"], 32);
    let tasks: Vec<(&str, &str, &str)> = (page["tasks"].as_array().expect("tasks").iter())
        .map(|task| ["name", "reads", "output"].map(|key| task[key].as_str().expect("a text")))
        .map(|[name, reads, output]| (name, reads, output))
        .collect();
    assert_eq!(tasks.len(), 5);
    assert!(tasks.contains(&("planted-mood", "text", "value")), "{tasks:?}");
    assert!(tasks.contains(&("planted-tags", "tokens", "probabilities")), "{tasks:?}");
    let one = ["export", "run-slim", "--onnx", "--to", "one", "--task", "planted-topic", "--logits"];
    good(here, &one);
    let one = json(&read(here, "one/tasks.json"));
    assert_eq!((one["tasks"].as_array().map(Vec::len), &one["tasks"][0]["output"]), (Some(1), &"logits".into()));
    refused(here, &["export", "run-slim", "--onnx", "--to", "onnx"], &["onnx: there is something already"]);
    refused(
        here,
        &["export", "run-slim", "--onnx", "--to", "x", "--task", "planted-topik"],
        &["did you mean `planted-topic`?"],
    );
    // Weights of their own are files of their own; what is no plain encoder is refused.
    let strategy = |out: &'static str, name: &'static str| {
        let more =
            [&["train", "embedded", "--out", out, "--set", name, "--set", "weighting.rule=equal"], SMALL].concat();
        good(here, &more)
    };
    strategy("single", "sharing.strategy=single");
    assert_eq!(good(here, &["export", "single", "--onnx", "--to", "many"]).matches(".onnx, ").count(), 5);
    assert!(here.join("many/planted-clash.onnx").exists());
    strategy("pal", "sharing.strategy=pal");
    refused(here, &["export", "pal", "--onnx", "--to", "x"], &["task `planted-topic`", "strategy `pal`", "--task"]);
    assert!(!here.join("x").exists() && !here.join(".x.partial").exists());
}
