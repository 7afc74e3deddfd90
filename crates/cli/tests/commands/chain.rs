//! Train, evaluate, predict: the embedded recipe from beginning to end.

use serde_json::Value;

use crate::tool::{SMALL, fed, good, json, refused, weights};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn what_was_trained_is_evaluated_and_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, out) = (folder.path(), folder.path().join("run"));
    let table = good(here, &[&["train", "embedded", "--out", "run", "--set", "train.threads=1"], SMALL].concat());
    assert!(table.contains("planted-topic") && table.contains("baseline"), "{table}");
    assert_eq!(std::fs::read_to_string(out.join("report.md")).expect("a report").trim(), table.trim());

    let report = json(&std::fs::read_to_string(out.join("report.json")).expect("a report"));
    for key in [
        "seconds",
        "tokens_per_second",
        "strategy",
        "rule",
        "seed",
        "device",
        "recipe",
        "checkpoint",
        "fallback",
        "tasks",
    ] {
        assert!(!report[key].is_null(), "`{key}` is missing in {report}");
    }
    assert_eq!((&report["recipe"], &report["fallback"]), (&Value::from("embedded"), &Value::from(false)));
    assert_eq!((&report["strategy"], &report["rule"]), (&Value::from("hard"), &Value::from("nash")));
    for key in ["total", "per_task", "single_task_total"] {
        assert!(!report["parameters"][key].is_null(), "`parameters.{key}` is missing in {report}");
    }
    assert_eq!(report["tasks"].as_object().expect("tasks").len(), 5);
    for (name, task) in report["tasks"].as_object().expect("tasks") {
        for key in ["kind", "headline"] {
            assert!(task[key].is_string(), "{name}: {key}");
        }
        for key in ["dev", "test", "trivial", "train"] {
            assert!(task[key].is_f64(), "{name}: {key}");
        }
        assert_eq!(task["n_test"], 24, "{name}");
        assert!(report["parameters"]["per_task"][name].is_u64(), "{name}");
    }
    assert_eq!(report["tasks"]["planted-mood"]["headline"], "pearson");
    assert_eq!(report["tasks"]["planted-mood"]["trivial"], 0.0, "a constant prediction correlates with nothing");
    assert_eq!(report["tasks"]["planted-tags"]["headline"], "span-f1");
    assert_eq!(report["tasks"]["planted-tags"]["trivial"], 0.0);

    // The run folder alone says the same again.
    for (split, key) in [("dev", "dev"), ("test", "test"), ("train", "train")] {
        let scores = json(&good(here, &["evaluate", "run", "--split", split, "--json"]));
        for (name, task) in report["tasks"].as_object().expect("tasks") {
            let found = &scores[name][task["headline"].as_str().expect("a name")];
            // `train` reports a sample of as many training examples as there are of dev.
            assert!(found.is_f64() && (split == "train" || *found == task[key]), "{name} on {split}: {found}, {task}");
        }
    }
    answers(here);
    every_task_answers_as_it_does_alone(here);
    let again = good(here, &["evaluate", "run"]);
    assert!(again.lines().count() == 5 && again.contains("planted-mood: ") && again.contains("pearson"), "{again}");

    // Another number of threads, the same bits; another seed, others.
    let other = [&["train", "embedded", "--out", "other", "--set", "train.threads=2"], SMALL].concat();
    good(here, &other);
    assert_eq!(weights(&here.join("other")), weights(&out));
    let seeded = [&["train", "embedded", "--out", "seeded", "--set", "train.seed=1"], SMALL].concat();
    good(here, &seeded);
    assert_ne!(weights(&here.join("seeded")), weights(&out));
}

fn answers(here: &std::path::Path) {
    let predict = |task: &str, more: &[&str], input: &str| {
        let ended = fed(here, &[&["predict", "run", "--task", task], more].concat(), input);
        assert_eq!(ended.code, Some(0), "{}", ended.error);
        ended.out.lines().map(String::from).collect::<Vec<_>>()
    };
    let lines = predict("planted-topic", &["--json"], "\u{feff}suba sube\n\n{\"text\": \"moba \\\"quoted\\\"\"}\n");
    assert_eq!(lines.len(), 3, "every line has its answer, a blank one too: {lines:?}");
    assert_eq!(json(&lines[1])["text"], "");
    let first = json(&lines[0]);
    assert_eq!(keys(&first), ["label", "scores", "text"]);
    assert_eq!(first["text"], "suba sube");
    assert_eq!(keys(&first["scores"]), ["art", "law", "sea", "war"]);
    let sum: f64 = first["scores"].as_object().expect("scores").values().filter_map(Value::as_f64).sum();
    assert!((sum - 1.).abs() < 1e-5, "{sum}");
    assert!(first["scores"][first["label"].as_str().expect("a label")].as_f64().expect("a score") >= 0.25);
    assert_eq!(json(&lines[2])["text"], "moba \"quoted\"");
    let mood = json(&predict("planted-mood", &["--json"], "moba mobe")[0]);
    assert_eq!(keys(&mood), ["scores", "text", "value"]);
    assert!(mood["value"].is_f64());
    for input in ["peba fiba plaba", "{\"tokens\": [\"peba\", \"fiba\", \"plaba\"]}"] {
        let tags = json(&predict("planted-tags", &["--json"], input)[0]);
        assert_eq!(keys(&tags), ["scores", "tags", "tokens"]);
        assert_eq!(
            (tags["tags"].as_array().map(Vec::len), tags["scores"].as_array().map(Vec::len)),
            (Some(3), Some(3))
        );
    }
    let plain = predict("planted-topic", &[], "suba sube\n");
    assert!(plain[0].ends_with("\tsuba sube"), "{plain:?}");
    std::fs::write(here.join("texts.txt"), "suba sube\nmoba").expect("written");
    let from_file = good(here, &["predict", "run", "--task", "planted-topic", "--input", "texts.txt"]);
    assert_eq!(from_file.lines().next(), plain.first().map(String::as_str));

    refused(here, &["predict", "run", "--task", "planted-topik"], &["did you mean `planted-topic`?"]);
    refused(here, &["predict", "run", "--task", "planted-topic", "--input", "none"], &["cannot read none"]);
    refused(here, &["predict", "nowhere", "--task", "x"], &["nowhere", "not a run folder"]);
    for (task, input, named) in [
        (
            "planted-topic",
            "suba\n{\"txt\": \"a\"}",
            "an object with txt; expected one text a line, or an object with `text`",
        ),
        (
            "planted-topic",
            "suba\n{\"text_a\": \"a\", \"text_b\": \"b\"}",
            "an object with text_a, text_b; expected one text",
        ),
        ("planted-topic", "suba\n{\"text\": ", "no JSON object"),
        ("planted-tags", "suba\n{\"text\": \"a\"}", "needs `tokens`"),
        ("planted-tags", "suba\n{\"tokens\": [1]}", "must hold texts"),
    ] {
        let ended = fed(here, &["predict", "run", "--task", task], input);
        assert_eq!(ended.code, Some(1), "{input}");
        assert!(ended.error.contains("-:2") && ended.error.contains(named), "{}", ended.error);
    }
}

/// Without `--task` each line has all tasks' answers, the same to the last digit.
fn every_task_answers_as_it_does_alone(here: &std::path::Path) {
    let all = ["planted-clash", "planted-genre", "planted-mood", "planted-tags", "planted-topic"];
    let predict = |more: &[&str], input: &str| -> Vec<Value> {
        let ended = fed(here, &[&["predict", "run"], more].concat(), input);
        assert_eq!(ended.code, Some(0), "{}", ended.error);
        ended.out.lines().map(json).collect()
    };
    let tokens = "{\"tokens\": [\"peba\", \"fiba\"]}\n";
    for (input, tasks, asked) in [
        ("suba sube\npeba fiba plaba, moba\n\nmoba\n", &all[..], &["answers", "text", "tokens"][..]),
        (tokens, &["planted-tags"], &["answers", "tokens"]),
    ] {
        let together = predict(&[], input);
        assert_eq!(together, predict(&["--json"], input));
        assert_eq!(together.len(), input.lines().count());
        for line in &together {
            let (mut found, mut expected) = (keys(line), asked.to_vec());
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
            assert_eq!(keys(&line["answers"]), tasks);
        }
        for task in tasks {
            let alone = predict(&["--task", task, "--json"], input);
            assert_eq!(alone.len(), together.len());
            for (alone, together) in alone.iter().zip(&together) {
                for (key, value) in alone.as_object().expect("an object") {
                    let place = if asked.contains(&key.as_str()) { together } else { &together["answers"][task] };
                    assert_eq!(&place[key], value, "{task}: `{key}`");
                }
            }
        }
    }
    let mixed: Vec<usize> = predict(&[], &["suba\n", tokens].concat())
        .iter()
        .map(|line| line["answers"].as_object().expect("answers").len())
        .collect();
    assert_eq!(mixed, [5, 1], "who cannot read a line is left out");
    let ended = fed(here, &["predict", "run"], "suba\n{\"txt\": \"a\"}");
    assert_eq!(ended.code, Some(1));
    assert!(ended.error.contains("-:2") && ended.error.contains("an object with txt; expected"), "{}", ended.error);
}
