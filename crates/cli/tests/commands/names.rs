//! Names that are not there, and the network that is not to be asked.

use crate::tool::{Ended, SMALL, command, good, json, refused, run};

#[test]
fn unknown_names_suggest_the_nearest() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let recipe = "tasks = [\"planted-topik\"]\ncheckpoint = \"embedded\"\n";
    std::fs::write(here.join("task.toml"), recipe).expect("written");
    std::fs::write(here.join("model.toml"), recipe.replace("topik", "topic").replace("embedded", "embeded"))
        .expect("written");
    refused(
        here,
        &["train", "embeded"],
        &["unknown recipe `embeded`", "did you mean `embedded`?", "default, embedded"],
    );
    refused(here, &["train", "task.toml"], &["unknown dataset `planted-topik`", "did you mean `planted-topic`?"]);
    refused(here, &["train", "model.toml"], &["unknown model `embeded`", "did you mean `embedded`?"]);
    refused(here, &["train", "none.toml"], &["recipe `none.toml`: no such file"]);
    refused(here, &["fetch", "--model", "bert-base-uncasd"], &["did you mean `bert-base-uncased`?"]);
    refused(here, &["fetch", "--dataset", "reuters-r7"], &["did you mean `reuters-r8`?"]);
    for (key, named) in
        [("weighting.rule=nahs", "`nash`"), ("sharing.strategy=hrad", "`hard`"), ("train.step=1", "`step`")]
    {
        refused(here, &["train", "embedded", "--set", key], &[named, "--set"]);
    }
    refused(
        here,
        &["train", "embedded", "--set", "sharing.strategy=single"],
        &["rule `nash`", "strategy `single` shares none", "take a rule over losses"],
    );
    let mistyped = run(here, &["trian"]);
    assert!(mistyped.code == Some(2) && mistyped.error.contains("train"), "{}", mistyped.error);
}

#[test]
fn another_member_on_the_command_line_drops_the_old_ones_keys_aloud() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.toml");
    let text =
        "tasks = [\"planted-topic\"]\ncheckpoint = \"none.toml\"\n[weighting]\nrule = \"nash\"\nmax_norm = 3.0\n";
    std::fs::write(&path, text).expect("written");
    let ended = run(folder.path(), &["train", "mine.toml", "--set", "weighting.rule=equal"]);
    assert!(ended.error.contains("[weighting] keys of `nash` dropped: max_norm"), "{}", ended.error);
}

#[test]
fn offline_says_so_and_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = "about = \"\"\nlicence = \"\"\narchitecture = \"bert\"\n[[source]]\nkind = \"hub\"\nrepo = \
                    \"nobody/nothing\"\nfiles = [{ path = \"config.json\" }]\n[[source]]\nkind = \"pip\"\npackage = \
                    \"nothing\"\nversion = \"1.0\"\nfiles = [{ path = \"nothing/config.json\" }]\n";
    let name = "nobody.toml";
    std::fs::write(folder.path().join(name), manifest).expect("written");
    // `HF_HUB_OFFLINE=1` is set for every command of these tests; the flag says the same.
    for more in [&[][..], &["--offline"]] {
        let arguments = [&["fetch", "--model", name], more].concat();
        refused(folder.path(), &arguments, &["offline", "hub nobody/nothing", "pip nothing==1.0", "config.json"]);
    }
}

#[test]
fn everything_that_there_is_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = good(folder.path(), &["list"]);
    let shipped =
        ["embedded", "planted-topic", "all-minilm-l6-v2", "nash", "hard", "adamw", "linear", "span-f1", "bert"];
    for name in shipped {
        assert!(all.contains(name), "`{name}` is not listed: {all}");
    }
    let rules = good(folder.path(), &["list", "rules"]);
    assert_eq!(rules.lines().count(), mtl_cli::Registries::default().rules.names().len());
    let strategies = good(folder.path(), &["list", "strategies"]);
    // A line of titles stands above them.
    assert_eq!(strategies.lines().count(), 1 + mtl_sharing::STRATEGIES.len());
    let hard = strategies.lines().find(|line| line.trim_start().starts_with("hard ")).expect("listed");
    assert!(hard.contains("22.57 M"), "{hard}");
    let datasets = good(folder.path(), &["list", "datasets"]);
    let unverified = datasets.lines().find(|line| line.contains("glue-cola")).expect("listed");
    assert!(unverified.contains("unverified"), "{unverified}");
}

#[test]
fn the_first_command_never_fails_for_want_of_a_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let offline = |arguments: &[&str]| -> Ended {
        command(here, arguments).env("HF_HOME", here).output().expect("started").into()
    };
    let ended = offline(&[&["train", "--out", "run"], SMALL].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.error);
    assert!(ended.error.contains("could not be fetched; the embedded recipe runs instead"), "{}", ended.error);
    let report = json(&std::fs::read_to_string(here.join("run/report.json")).expect("a report"));
    assert_eq!((report["fallback"].as_bool(), report["recipe"].as_str()), (Some(true), Some("embedded")));
    // A recipe that was asked for by name is not replaced.
    assert_eq!(offline(&["train", "default", "--out", "named"]).code, Some(1));
}
