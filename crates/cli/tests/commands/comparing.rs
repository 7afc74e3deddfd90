//! `compare` with child processes: what stops a child from outside is left for the next call.

use crate::tool::{good, json, run};

const SMALL: &str = r#"
about = "small"
seeds = 2
resamples = 20

[set]
tasks = ["planted-topic", "planted-mood"]
train = { steps = 4, limit = 40, batch = 4 }
evaluation = { every = 2, dev_limit = 20, test_limit = 20 }
"#;

#[test]
fn a_child_that_cannot_run_is_told_and_run_by_the_next_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    std::fs::write(here.join("small.toml"), SMALL).expect("written");
    let compare = ["compare", "small.toml", "--engine", "local:2", "--json"];
    let printed = run(here, &["compare", "small.toml", "--engine", "print"]);
    let ids: Vec<&str> = printed.out.lines().filter_map(|line| line.split("--run ").nth(1)).collect();
    assert_eq!(ids.len(), 2, "{}", printed.out);
    assert!(printed.error.contains("2 runs are due"), "{}", printed.error);
    // A file lies where the folder of a run is to be made.
    let blocked = here.join("runs/compare-small/runs").join(ids[1]);
    std::fs::create_dir_all(blocked.parent().expect("a folder")).expect("made");
    std::fs::write(&blocked, "in the way").expect("written");
    let stopped = run(here, &compare);
    assert_eq!(stopped.code, Some(75), "{}", stopped.error);
    let log = blocked.with_extension("log");
    let left = format!("left for the next call: single seed 1 ({}): see ", ids[1]);
    for part in [left.as_str(), ids[1], "stopped with 1 of 2 runs done; continue with: mtl compare small.toml"] {
        assert!(stopped.error.contains(part), "`{part}` is missing in: {}", stopped.error);
    }
    let told = std::fs::read_to_string(&log).expect("a log");
    assert!(told.contains("cannot make") && told.contains(ids[1]), "{told}");

    std::fs::remove_file(&blocked).expect("removed");
    let comparison = json(&good(here, &compare));
    assert_eq!(comparison["arms"][0]["finished"], 2);
}
