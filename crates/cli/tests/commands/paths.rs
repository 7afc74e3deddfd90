//! Paths in recipes and experiments start from the file they are written in, whatever the current folder is.

use std::path::Path;

use crate::own::folder;
use crate::tool::{good, json, run};

/// An experiment beside the recipe of [`folder`]: its base, a task and a checkpoint by path.
const EXPERIMENT: &str = r#"
about = "small"
base = "my-recipe.toml"
seeds = 1
resamples = 20
main = "my-task"

[set]
tasks = ["my-task.toml", "other/second.toml"]

[[arm]]
strategy = "hard"
rule = "equal"
checkpoint = "my-model.toml"
"#;

/// A folder with the folder `mine` of a recipe and what it names, and the empty folder `elsewhere`.
fn nested() -> tempfile::TempDir {
    let (mine, outer) = (folder(), tempfile::tempdir().expect("a folder"));
    copy(mine.path(), &outer.path().join("mine"));
    std::fs::create_dir(outer.path().join("elsewhere")).expect("made");
    outer
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { drop(std::fs::copy(entry.path(), target)) }
    }
}

#[test]
fn a_recipe_trains_and_its_run_is_scored_from_anywhere() {
    let outer = nested();
    let (here, elsewhere) = (outer.path(), outer.path().join("elsewhere"));
    good(here, &["train", "mine/my-recipe.toml", "--out", "runs/first"]);
    let recipe = std::fs::read_to_string(here.join("runs/first/recipe.toml")).expect("a recipe");
    assert!(
        recipe.contains("\"../../mine/my-task.toml\"") && recipe.contains("\"../../mine/my-model.toml\""),
        "{recipe}"
    );
    let scores = good(here, &["evaluate", "runs/first"]);
    assert_eq!(good(&elsewhere, &["evaluate", "../runs/first"]), scores);
    // The run's recipe is one like any other.
    good(&elsewhere, &["train", "../runs/first/recipe.toml", "--out", "again"]);
    assert_eq!(good(here, &["evaluate", "elsewhere/again"]), scores);
    good(&elsewhere, &["train", "../mine/my-recipe.toml", "--out", "../runs/first", "--resume"]);
    // All of it may be moved.
    let moved = tempfile::tempdir().expect("a folder");
    std::fs::rename(here.join("mine"), moved.path().join("mine")).expect("moved");
    std::fs::rename(here.join("runs"), moved.path().join("runs")).expect("moved");
    assert_eq!(good(&elsewhere, &["evaluate", &moved.path().join("runs/first").display().to_string()]), scores);

    // What is typed starts from the current folder.
    let mine = moved.path().join("mine");
    good(
        &mine,
        &[
            "train",
            "embedded",
            "--set",
            "tasks=[\"my-task.toml\"]",
            "--set",
            "checkpoint=my-model.toml",
            "--set",
            "train.steps=2",
            "--set",
            "train.max_tokens=16",
            "--out",
            "typed",
        ],
    );
    let audit = json(&good(moved.path(), &["data", "check", "mine/my-recipe.toml", "--json"]));
    assert_eq!(audit["tasks"][0]["name"], "my-task");
}

#[test]
fn an_experiment_of_paths_runs_in_child_processes() {
    let outer = nested();
    let (here, mine) = (outer.path(), outer.path().join("mine"));
    std::fs::write(mine.join("my-experiment.toml"), EXPERIMENT).expect("written");
    std::fs::create_dir(mine.join("other")).expect("made");
    let task = std::fs::read_to_string(mine.join("my-task.toml")).expect("read");
    std::fs::write(mine.join("other/second.toml"), task.replace("folder = \".\"", "folder = \"..\"")).expect("written");
    let told = run(here, &["compare", "mine/my-experiment.toml", "--engine", "print"]);
    assert!(
        told.out.starts_with("mtl compare mine/my-experiment.toml --out runs/compare-my-experiment --run "),
        "{}",
        told.out
    );
    let table = good(here, &["compare", "mine/my-experiment.toml", "--engine", "local:2"]);
    assert!(table.contains("hard+equal+my-model") && table.contains("second"), "{table}");
    let plan = std::fs::read_to_string(here.join("runs/compare-my-experiment/plan.jsonl")).expect("a plan");
    assert!(plan.contains("../../../../mine/other/second.toml"), "{plan}");
    let comparison = std::fs::read_to_string(here.join("runs/compare-my-experiment/comparison.json")).expect("read");
    assert_eq!(json(&comparison)["provenance"]["command"], "mtl compare mine/my-experiment.toml");
}
