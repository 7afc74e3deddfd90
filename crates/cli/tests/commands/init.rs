//! `init`: from files to manifests and a recipe that trains.

use std::path::Path;

use crate::own;
use crate::tool::{fed, good, json, refused};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A folder with the tutorial's files, where the default encoder's name means a tiny one.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = own::folder();
    for name in ["tickets.csv", "pairs.tsv", "ner.conll"] {
        std::fs::copy(Path::new(HERE).join("../../docs/tutorial").join(name), folder.path().join(name))
            .expect("copied");
    }
    std::fs::create_dir(folder.path().join("models")).expect("made");
    let manifest = std::fs::read_to_string(folder.path().join("my-model.toml")).expect("a manifest");
    let manifest = manifest.replace("folder = \"encoder\"", "folder = \"../encoder\"");
    std::fs::write(folder.path().join("models/all-minilm-l6-v2.toml"), manifest).expect("written");
    for name in ["my-model.toml", "my-recipe.toml", "my-task.toml"] {
        std::fs::remove_file(folder.path().join(name)).expect("removed");
    }
    folder
}

#[test]
fn what_is_written_trains() {
    let folder = folder();
    let here = folder.path();
    let told = good(here, &["init", "tickets.csv", "pairs.tsv", "ner.conll"]);
    for part in [
        "reads text `body`",
        "the pair `text_a` and `text_b`",
        "words `0`",
        "learns `team`: classification, 3 classes",
        "learns `1`: tagging",
        "data check recipe.toml",
    ] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    good(here, &["data", "check", "recipe.toml", "--set", "train.max_tokens=16"]);
    let small = [
        "--set",
        "train.steps=4",
        "--set",
        "train.batch=2",
        "--set",
        "train.max_tokens=16",
        "--set",
        "evaluation.every=0",
    ];
    good(here, &[&["train", "recipe.toml", "--out", "run"], &small[..]].concat());
    // A task of pairs reads pairs, the others do not.
    let pair = fed(here, &["predict", "run", "--task", "pairs"], "a cat sleeps\tthe cat is asleep\n");
    assert_eq!((pair.code, pair.out.lines().count()), (Some(0), 1), "{}", pair.error);
    for (task, input, named) in [
        ("pairs", "one text alone\n", "one text without a tab, expected two texts"),
        ("pairs", "{\"text\": \"a\"}", "an object with text; expected two texts"),
        ("tickets.team", "{\"text_a\": \"a\", \"text_b\": \"b\"}", "expected one text"),
    ] {
        let ended = fed(here, &["predict", "run", "--task", task], input);
        assert_eq!(ended.code, Some(1), "{task}: {input}");
        assert!(ended.error.contains("-:1") && ended.error.contains(named), "{}", ended.error);
    }
    let all = json(&fed(here, &["predict", "run"], "the printer is broken\n").out);
    let answers: Vec<&str> = all["answers"].as_object().expect("answers").keys().map(String::as_str).collect();
    assert_eq!(answers, ["ner", "tickets.team", "tickets.urgency"]);
    // What is there is not replaced unasked.
    refused(here, &["init", "pairs.tsv"], &["pairs.toml", "--force"]);
    good(here, &["init", "pairs.tsv", "--force"]);
}

#[test]
fn splits_by_name_and_other_folders_are_understood() {
    let folder = folder();
    let here = folder.path();
    std::fs::create_dir(here.join("mood")).expect("made");
    for (split, rows) in [("train", 40), ("dev", 10), ("test", 10)] {
        let row = |row: usize| format!("a text about {split} number {row} of them,{}\n", row as f64 / 7.);
        let text: String = (0..rows).map(row).collect();
        std::fs::write(here.join(format!("mood/{split}.csv")), format!("text,score\n{text}")).expect("written");
    }
    let told =
        good(here, &["init", "mood/train.csv", "mood/dev.csv", "mood/test.csv", "--out", "made", "--name", "mine"]);
    assert!(told.contains("regression") && told.contains("60 rows"), "{told}");
    let manifest = std::fs::read_to_string(here.join("made/mood.toml")).expect("a manifest");
    assert!(manifest.contains("dev = [\"../mood/dev.csv\"]"), "{manifest}");
    good(here, &["data", "check", "made/mine.toml", "--set", "train.max_tokens=16"]);
}

#[test]
fn columns_of_0_and_1_are_a_set_of_labels() {
    let folder = folder();
    let here = folder.path();
    let row = |at: usize| {
        format!("a remark of the number {at},{},{},{}\n", at % 2, usize::from(at.is_multiple_of(3)), at % 5 / 4)
    };
    let rows: String = (0..60).map(row).collect();
    std::fs::write(here.join("remarks.csv"), format!("remark,toxic,insult,threat\n{rows}")).expect("written");
    // 30 + 20 + 12 of 60 rows.
    let told = good(here, &["init", "remarks.csv", "--name", "mine"]);
    for part in ["multilabel, 3 indicators, 1.03 of them hold in a row", "`threat` hold 0 and 1"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    let manifest = std::fs::read_to_string(here.join("remarks.toml")).expect("a manifest");
    assert!(manifest.contains("indicators = [\"toxic\", \"insult\", \"threat\"]"), "{manifest}");
    let checked = good(here, &["data", "check", "mine.toml", "--set", "train.max_tokens=16"]);
    assert!(checked.contains("threat"), "{checked}");

    // Beside a class, two tasks over one table; beside a label by name, only that one.
    let row = |at: usize| {
        format!("a remark of number {at},{},{},{},{}\n", at % 2, at % 3 / 2, at % 5 / 4, ["x", "y"][at / 30])
    };
    let rows: String = (0..60).map(row).collect();
    std::fs::write(here.join("several.csv"), format!("remark,a,b,c,side\n{rows}")).expect("written");
    good(here, &["init", "several.csv", "--name", "both"]);
    let manifest = std::fs::read_to_string(here.join("several.toml")).expect("a manifest");
    assert!(
        manifest.contains("name = \"side\"") && manifest.contains("indicators = [\"a\", \"b\", \"c\"]"),
        "{manifest}"
    );
    good(here, &["data", "check", "both.toml", "--set", "train.max_tokens=16"]);
    std::fs::write(here.join("named.csv"), format!("remark,a,b,c,label\n{rows}")).expect("written");
    let told = good(here, &["init", "named.csv", "--name", "one"]);
    assert!(
        told.contains("learns `label`: classification, 2 classes (x, y)") && told.contains("`c` could be"),
        "{told}"
    );
}

#[test]
fn what_cannot_be_told_is_said() {
    let folder = folder();
    let here = folder.path();
    std::fs::write(here.join("numbers.csv"), "a,b\n1,2\n3,4\n5,6\n").expect("written");
    refused(here, &["init", "numbers.csv"], &["numbers.csv", "no column looks like a text", "`a`: 3 different values"]);
    let prose: String = (0..30).map(|row| format!("a sentence of its own number {row},id{row}\n")).collect();
    std::fs::write(here.join("prose.csv"), format!("text,code\n{prose}")).expect("written");
    refused(here, &["init", "prose.csv"], &["no column looks like a label", "by hand"]);
    refused(here, &["init", "nowhere.csv"], &["nowhere.csv"]);
    assert!(!here.join("recipe.toml").exists(), "nothing is written before all is understood");
}
