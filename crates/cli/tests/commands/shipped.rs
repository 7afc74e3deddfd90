//! What is shipped inside the binary: it needs no file beside it, gives way to what lies in the current folder, and is
//! what the checkout has.

use std::path::Path;

use mtl_cli::locate::{self, Files, Kind};
use mtl_compare::Experiment;

use crate::tool::{SMALL, command, good, refused, run};

#[test]
fn manifests_are_shipped_as_the_checkout_has_them() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let differing = mtl_cli::differing(&checkout).expect("readable");
    assert!(differing.is_empty(), "{differing:?}: `cargo xtask check --assets` ships them");
}

/// What is shipped of weights stays small.
#[test]
fn the_pretrained_encoder_of_generated_text_has_less_than_a_megabyte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/models/embedded-pretrained");
    let files = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").metadata());
    let sizes: Vec<u64> = files.map(|file| file.expect("a file").len()).collect();
    assert!(sizes.len() == 3 && sizes.iter().sum::<u64>() < 1_000_000, "{sizes:?}");
}

#[test]
fn every_shipped_experiment_is_valid() {
    let files = Files::new(&Default::default(), true).expect("a cache");
    for name in locate::names(Kind::Experiment) {
        let document = locate::find(Kind::Experiment, &name).expect("shipped").document;
        let experiment = Experiment::parse(&name, &document, &[], &files).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        let (arms, _) = experiment.arms().unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert!(arms.len() > 1, "{name}");
    }
}

#[test]
fn an_installed_binary_works_in_an_empty_folder_with_an_empty_home() {
    let (folder, home) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let here = folder.path();
    let alone = |arguments: &[&str]| {
        let mut command = command(here, arguments);
        command.env_clear().env("HOME", home.path()).env("HF_HUB_OFFLINE", "1");
        let output = command.output().expect("started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let listed = alone(&["list", "recipes"]);
    let recipes: Vec<&str> = listed.lines().map(str::trim).collect();
    assert!(recipes.is_sorted() && ["default", "embedded", "planted-mixed"].iter().all(|name| recipes.contains(name)));
    assert!(alone(&["list", "experiments"]).contains("planted"));
    assert!(alone(&["list", "datasets"]).contains("glue-cola"));
    alone(&[&["train", "embedded", "--out", "run"], SMALL].concat());
    assert!(here.join("run/report.json").exists());
    alone(&["evaluate", "run"]);
    let pretrained = ["--set", "checkpoint=embedded-pretrained"];
    alone(&[&["train", "planted-mixed", "--out", "mixed"], &pretrained[..], SMALL].concat());
    assert!(here.join("mixed/report.json").exists());
}

#[test]
fn a_file_of_the_current_folder_comes_before_a_shipped_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    for kind in ["recipes", "datasets"] {
        std::fs::create_dir(here.join(kind)).expect("made");
    }
    std::fs::write(here.join("recipes/embedded.toml"), "tasks = []\ncheckpoint = \"embedded\"\n").expect("written");
    refused(here, &["train", "embedded"], &["recipes/embedded.toml", "`tasks` is empty"]);
    std::fs::write(here.join("recipes/mine.toml"), "tasks = [\"other\"]\ncheckpoint = \"embedded\"\n")
        .expect("written");
    let listed = good(here, &["list", "recipes"]);
    let recipes: Vec<&str> = listed.lines().map(str::trim).collect();
    assert!(recipes.is_sorted() && ["default", "mine"].iter().all(|name| recipes.contains(name)), "{listed}");
    refused(here, &["train", "mine"], &["unknown dataset `other`"]);
    // A file that is no manifest hides no other.
    std::fs::write(here.join("datasets/odd.toml"), "about = 3\n").expect("written");
    let listed = good(here, &["list", "datasets"]);
    assert!(listed.contains("malformed") && listed.contains("glue-cola"), "{listed}");
}

#[test]
fn hints_name_the_program_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["train", "--help"][..], &["compare", "--help"], &["explain", "--help"], &["--help"]] {
        let ended = run(folder.path(), arguments);
        let told = ended.out + &ended.error;
        assert!(told.contains("mtl ") && !told.contains("xtask") && !told.contains("{program}"), "{told}");
    }
}
