//! What commands never do to files: overwrite a user's, keep a model of NaN, or need more of a run than they read.

use crate::tool::{SMALL, fed, good, refused, run};

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "embedded", "--out", out], SMALL, more].concat()
}

#[test]
fn a_users_recipe_is_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let own = "tasks = [\"planted-topic\"]\ncheckpoint = \"embedded\"\n";
    std::fs::write(here.join("recipe.toml"), own).expect("written");
    for out in [".", "./"] {
        let arguments = [&["train", "recipe.toml", "--out", out], SMALL].concat();
        refused(here, &arguments, &["`recipe.toml`", "not of a run", "choose another --out", "run"]);
    }
    assert_eq!(std::fs::read_to_string(here.join("recipe.toml")).expect("read"), own);
    let left: Vec<_> = std::fs::read_dir(here).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["recipe.toml"]);
}

#[test]
fn a_run_that_overflows_ends_in_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let wild = train("wild", &["--set", "train.steps=2", "--set", "optimizer.rate=1e39"]);
    refused(here, &wild, &["training has diverged", "step ", "NaN", "optimizer.rate"]);
    assert!(!here.join("wild/report.json").exists() && !here.join("wild/checkpoints/last").exists());
    let ended = run(here, &["evaluate", "wild"]);
    assert_eq!(ended.code, Some(1), "{}", ended.out);
}

#[test]
fn predicting_and_scoring_read_the_weights_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    good(here, &train("run", &[]));
    let predicted = || fed(here, &["predict", "run", "--task", "planted-topic"], "suba sube\n").out;
    let (before, scores) = (predicted(), good(here, &["evaluate", "run", "--json"]));
    std::fs::remove_file(here.join("run/checkpoints/best/optimizer.safetensors")).expect("removed");
    assert!(!before.is_empty());
    assert_eq!((predicted(), good(here, &["evaluate", "run", "--json"])), (before, scores));
    let weights = here.join("run/checkpoints/best/model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&weights, bytes).expect("written");
    let named = ["checkpoints/best/model.safetensors", "damaged", "backup", "train anew"];
    refused(here, &["predict", "run", "--input", "run/recipe.toml"], &named);
    refused(here, &["evaluate", "run"], &named);
}
