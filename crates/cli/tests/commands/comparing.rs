//! `compare` with child processes: what stops a child from outside is left for the next call.

#[cfg(unix)]
use std::path::Path;
#[cfg(unix)]
use std::time::{Duration, Instant};

#[cfg(unix)]
use crate::interrupted::signal;
#[cfg(unix)]
use crate::tool::command;
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

/// Waits for what `is_so` of each of the two runs.
#[cfg(unix)]
fn wait(runs: &[std::path::PathBuf], what: &str, is_so: impl Fn(&Path) -> bool) {
    let since = Instant::now();
    while !runs.iter().all(|run| is_so(run)) {
        assert!(since.elapsed() < Duration::from_secs(180), "waited for {what} for three minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whoever is told to stop, or is killed: the children save what they are at.
#[cfg(unix)]
#[test]
fn children_save_when_their_parent_is_stopped_or_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let long = SMALL.replace("steps = 4", "steps = 150").replace("every = 2", "every = 10");
    std::fs::write(here.join("small.toml"), long).expect("written");
    let compare = ["compare", "small.toml", "--engine", "local:2", "--json"];
    let printed = run(here, &["compare", "small.toml", "--engine", "print"]);
    let ids = printed.out.lines().filter_map(|line| line.split("--run ").nth(1));
    let runs: Vec<_> = ids.map(|id| here.join("runs/compare-small/runs").join(id)).collect();
    assert_eq!(runs.len(), 2, "{}", printed.out);
    let state = |run: &Path| std::fs::read_to_string(run.join("checkpoints/last/state.json")).ok();
    let step = |run: &Path| state(run).and_then(|text| json(&text)["step"].as_u64()).unwrap_or(0);
    // Nobody trains in a folder whose lock is free.
    let free = |run: &Path| {
        let lock = std::fs::File::open(run.join(".lock")).expect("a lock");
        lock.try_lock().is_ok()
    };

    let mut parent = command(here, &compare).spawn().expect("started");
    wait(&runs, "checkpoints", |run| step(run) > 0);
    parent.kill().expect("killed");
    parent.wait().expect("ended");
    wait(&runs, "children that end", free);
    let saved: Vec<u64> = runs.iter().map(|run| step(run)).collect();
    assert!(runs.iter().all(|run| !run.join("record.json").exists()), "{saved:?}");

    let parent = command(here, &compare).spawn().expect("started");
    wait(&runs, "further checkpoints", |run| {
        runs.iter().zip(&saved).any(|(own, &then)| own == run && step(run) > then)
    });
    signal(&parent, "-TERM");
    let output = parent.wait_with_output().expect("ended");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{error}");
    assert!(error.contains("stopped with 0 of 2 runs done; continue with: mtl compare small.toml"), "{error}");
    assert!(runs.iter().all(|run| free(run)), "the parent waits for its children");

    let comparison = json(&good(here, &compare));
    assert_eq!(comparison["arms"][0]["finished"], 2);
}
