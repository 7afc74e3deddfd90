//! A dataset and an encoder of one's own, by path, as the README describes them.

use std::path::{Path, PathBuf};

use crate::tool::{good, json, refused};

const TICKETS: &str = r#"
about = "support tickets by team"
licence = "ours"

[task]
kind = "classification"       # or regression, multilabel, tagging

[columns]
text = "body"                 # or text_a and text_b for pairs, tokens for tagging
label = "team"

[splits]
all = ["tickets.csv"]         # or train, dev and test files; what is missing is drawn, without leaks

[[source]]
kind = "path"
folder = "."
files = [{ path = "tickets.csv" }]
"#;

const MODEL: &str = r#"
about = "a tiny encoder of random weights"
licence = "ours"
architecture = "bert"

[[source]]
kind = "path"
folder = "encoder"
files = [{ path = "config.json" }, { path = "vocab.txt" }, { path = "model.safetensors" }]
"#;

const RECIPE: &str = r#"
tasks = ["my-task.toml"]
checkpoint = "my-model.toml"

[train]
steps = 6
batch = 4
max_tokens = 16

[evaluation]
every = 3
"#;

pub(crate) fn words() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(String::from);
    special.into_iter().chain((b'a'..=b'z').map(|letter| char::from(letter).to_string())).collect()
}

/// A folder with a recipe, a dataset and an encoder.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("my-recipe.toml", RECIPE);
    write("my-task.toml", TICKETS);
    write("my-model.toml", MODEL);
    let row = |row: u8| {
        format!("{row},{} printer {row},{}\n", char::from(b'a' + row % 26), ["desk", "lines"][row as usize % 2])
    };
    write("tickets.csv", &format!("id,body,team\n{}", (0..60).map(row).collect::<String>()));
    std::fs::create_dir(folder.path().join("encoder")).expect("made");
    let fixture: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../backbone/tests/fixtures/bert");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(name), folder.path().join("encoder").join(name)).expect("copied");
    }
    write("encoder/vocab.txt", &words().join("\n"));
    folder
}

/// A metric that judges another kind, or of which less is better, is no headline: that is said before any data is read.
#[test]
fn a_headline_has_to_judge_the_task() {
    let folder = folder();
    let here = folder.path();
    std::fs::remove_file(here.join("tickets.csv")).expect("removed");
    for (metric, named) in [
        ("pearson", ["does not judge tasks of kind `classification`", "accuracy, accuracy-f1, binary-f1"]),
        ("ece", ["less is better", "macro-f1"]),
        ("acuracy", ["unknown metric `acuracy`", "did you mean `accuracy`?"]),
    ] {
        let manifest = TICKETS.replace("[columns]", &format!("metric = \"{metric}\"\n[columns]"));
        std::fs::write(here.join("my-task.toml"), manifest).expect("written");
        for command in [&["train", "my-recipe.toml"][..], &["data", "check", "my-recipe.toml"]] {
            refused(here, command, &["my-task.toml", "[task] metric", metric, named[0], named[1]]);
        }
        refused(here, &["fetch", "--dataset", "my-task.toml"], &["my-task.toml", "[task] metric"]);
    }
}

#[test]
fn a_metric_that_no_kind_names_by_itself_can_be_the_headline() {
    let folder = folder();
    let here = folder.path();
    let manifest = TICKETS.replace("[columns]", "metric = \"accuracy-f1\"\n[columns]");
    std::fs::write(here.join("my-task.toml"), manifest).expect("written");
    good(here, &["train", "my-recipe.toml", "--out", "run"]);
    let report = json(&std::fs::read_to_string(here.join("run/report.json")).expect("a report"));
    assert_eq!(report["tasks"]["my-task"]["headline"], "accuracy-f1");
}

#[test]
fn a_recipe_by_path_trains_on_data_and_encoder_by_path() {
    let folder = folder();
    let here = folder.path();
    let table = good(here, &["train", "my-recipe.toml", "--out", "run"]);
    assert!(table.contains("my-task"), "{table}");
    let report = json(&std::fs::read_to_string(here.join("run/report.json")).expect("a report"));
    assert_eq!((report["recipe"].as_str(), report["checkpoint"].as_str()), (Some("my-recipe"), Some("my-model")));
    assert_eq!(report["tasks"]["my-task"]["kind"], "classification");
    assert_eq!(report["tasks"]["my-task"]["n_test"], 12);
    good(here, &["evaluate", "run"]);
    // Where no folder is named, it is the next free one under runs/.
    good(here, &["train", "my-recipe.toml"]);
    good(here, &["train", "my-recipe.toml", "--set", "train.seed=1"]);
    assert!(here.join("runs/my-recipe/report.json").exists() && here.join("runs/my-recipe-2/report.json").exists());
    let audit = json(&good(here, &["data", "check", "my-recipe.toml", "--json"]));
    assert_eq!(audit["tasks"][0]["name"], "my-task");
    assert_eq!(good(here, &["fetch", "--model", "my-model.toml"]).trim(), "encoder");
    assert_eq!(good(here, &["fetch", "--dataset", "my-task.toml"]).trim(), ".");
}

/// A run knows the encoder that it began from, wherever that lies, and the files of its folder.
#[test]
fn an_encoder_that_changed_is_refused_and_one_that_moved_is_not() {
    let folder = folder();
    let here = folder.path();
    good(here, &["train", "my-recipe.toml", "--out", "run"]);
    let scores = good(here, &["evaluate", "run"]);
    // The same files elsewhere are the same.
    std::fs::create_dir(here.join("elsewhere")).expect("made");
    for name in ["my-model.toml", "my-task.toml", "encoder", "tickets.csv"] {
        std::fs::rename(here.join(name), here.join("elsewhere").join(name)).expect("moved");
    }
    let again = [
        "train",
        "my-recipe.toml",
        "--out",
        "run",
        "--set",
        "tasks=[\"elsewhere/my-task.toml\"]",
        "--set",
        "checkpoint=elsewhere/my-model.toml",
    ];
    good(here, &again);
    assert_eq!(good(here, &["evaluate", "run"]), scores);
    let weights = here.join("elsewhere/encoder/model.safetensors");
    let bytes = std::fs::read(&weights).expect("read");
    let mut other = bytes.clone();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    std::fs::write(&weights, other).expect("written");
    refused(here, &again, &["model `my-model`", "the weights", "SHA-256 was", "and is", "train anew"]);
    std::fs::write(&weights, bytes).expect("written");
    let vocabulary = here.join("elsewhere/encoder/vocab.txt");
    let text = std::fs::read_to_string(&vocabulary).expect("read");
    std::fs::write(&vocabulary, text.replace("y\nz", "z\ny")).expect("written");
    refused(here, &again, &["model `my-model`", "the tokenizer", "SHA-256 was", "and is", "train anew"]);
    // The run folder has its own tokenizer, which is to be as the run wrote it.
    good(here, &["evaluate", "run"]);
    let own = here.join("run/encoder/tokenizer.json");
    let text = std::fs::read_to_string(&own).expect("read");
    std::fs::write(&own, format!("{text} ")).expect("written");
    for command in [&["evaluate", "run"], &["predict", "run"]] {
        refused(here, command, &["tokenizer.json", "not the one that the run wrote", "SHA-256 was", "restore it"]);
    }
}
