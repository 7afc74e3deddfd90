//! `--data`: public datasets from folders of this machine.

use std::path::Path;

use super::tool::{SMALL, good, refused};

// The words of the embedded encoder are those of generated tasks.
const RECIPE: &str = "tasks = [\"trec\", \"snips-slots\", \"planted-topic\"]\ncheckpoint = \"embedded\"\n\
    [train]\nmax_tokens = 16\nthreads = 1\n[optimizer]\nrate = 1e-3\n";
const DATA: &[&str] = &["--data", "trec=mine/questions", "--data", "snips-slots=mine/slots"];

fn prepare(here: &Path) {
    let write = |name: &str, line: &dyn Fn(usize) -> String, rows: std::ops::Range<usize>| {
        let path = here.join("mine").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, rows.map(|row| format!("{}\n", line(row))).collect::<String>()).expect("written");
    };
    let question = |row: usize| {
        let kind = ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"][row % 6];
        format!(r#"{{"text": "what is number {row} of {kind}", "label": "{kind}"}}"#)
    };
    write("questions/train.jsonl", &question, 0..60);
    write("questions/dev.jsonl", &question, 60..84);
    write("questions/test.jsonl", &question, 84..108);
    let slots = |row: usize| format!(r#"{{"tokens": ["play", "song", "{row}"], "tags": ["O", "B-kind", "I-kind"]}}"#);
    write("slots/train.jsonl", &slots, 0..90);
    std::fs::write(here.join("recipe.toml"), RECIPE).expect("written");
}

#[test]
fn public_datasets_are_read_from_folders_of_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    prepare(here);
    refused(here, &["train", "recipe.toml", "--out", "run"], &["cannot fetch the dataset `trec`"]);
    let typed = |command: &[&'static str], more: &[&'static str]| [command, DATA, more].concat();
    good(here, &typed(&["train", "recipe.toml", "--out", "run"], SMALL));
    let report = std::fs::read_to_string(here.join("run/report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let sizes = |task: &str| ["n_train", "n_dev", "n_test"].map(|size| report["tasks"][task][size].as_u64());
    assert_eq!(sizes("trec"), [60, 24, 24].map(Some), "the splits of the folder");
    assert_eq!(sizes("snips-slots"), [63, 9, 18].map(Some), "what the folder lacks is drawn from train");
    let data = std::fs::read_to_string(here.join("run/data.json")).expect("fingerprints");
    assert!(data.contains("train.jsonl") && data.contains("dev.jsonl"), "the files are recorded: {data}");

    assert!(good(here, &typed(&["evaluate", "run", "--split", "test"], &[])).contains("trec: "));
    assert!(good(here, &typed(&["data", "check", "recipe.toml"], &[])).contains("snips-slots"));
    std::fs::write(here.join("mine/questions/dev.jsonl"), "{\"text\": \"other\", \"label\": \"HUM\"}\n")
        .expect("written");
    refused(here, &typed(&["evaluate", "run"], &[]), &["dev.jsonl", "SHA-256"]);
}

#[test]
fn runs_of_a_comparison_are_told_the_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    prepare(here);
    std::fs::write(here.join("small.toml"), "base = \"recipe.toml\"\nseeds = 2\n[[arm]]\nstrategy = \"hard\"\n")
        .expect("written");
    let printed = good(here, &[&["compare", "small.toml", "--engine", "print"], DATA, SMALL].concat());
    assert!(printed.lines().count() == 4, "{printed}");
    assert!(printed.lines().all(|line| line.contains("--data trec=mine/questions --data snips-slots=mine/slots")));
    let rows = good(here, &[&["compare", "small.toml", "--engine", "local:2", "--json"], DATA, SMALL].concat());
    let compared: serde_json::Value = serde_json::from_str(&rows).expect("JSON");
    assert!(compared["arms"].as_array().expect("arms").iter().all(|arm| arm["finished"] == 2), "{rows}");
    let command = compared["provenance"]["command"].as_str().expect("a command");
    assert!(command.contains("--set train.steps=12"), "{command}");
    assert!(command.ends_with(" --data trec=FOLDER --data snips-slots=FOLDER"), "{command}");
}

#[test]
fn folders_that_nothing_reads_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    prepare(here);
    let train = |data: &'static str, named: &[&str]| {
        refused(here, &[&["train", "recipe.toml", "--data", data], DATA].concat(), named);
    };
    train("trek=mine/questions", &["--data trek=mine/questions", "did you mean `trec`?"]);
    train("trec=mine/slots", &["`trec` is given two folders"]);
    refused(
        here,
        &["train", "recipe.toml", "--data", "trec=mine", "--data", "snips-slots=mine/slots"],
        &["--data trec=mine", "lacks `train.parquet`", "train.jsonl"],
    );
}
