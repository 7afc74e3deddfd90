//! Runs that are stopped on the way, politely or not, end with the bits of one that was not.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::tool::{SMALL, command, good, refused, run, weights};

/// What a polite interruption exits with: try again.
const RESUMABLE: i32 = 75;

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let long = ["--set", "train.steps=60", "--set", "train.save_every=4", "--set", "evaluation.every=20"];
    [&["train", "embedded", "--out", out], SMALL, &long, more].concat()
}

/// Starts a run and waits until it has a checkpoint.
fn begun(folder: &Path, out: &str, more: &[&str]) -> Child {
    let mut child = command(folder, &train(out, more)).spawn().expect("started");
    let (checkpoint, since) = (folder.join(out).join("checkpoints/last/manifest.json"), Instant::now());
    while !checkpoint.exists() {
        assert!(child.try_wait().expect("waited").is_none(), "it ended before its first checkpoint");
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn stopped_runs_end_with_the_bits_of_one_that_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    good(here, &train("whole", &[]));
    let expected = weights(&here.join("whole"));
    let report = |out: &str| {
        let text = std::fs::read_to_string(here.join(out).join("report.json")).expect("a report");
        crate::tool::json(&text)["tasks"].take()
    };

    for name in ["-INT", "-TERM"] {
        let out = name.trim_start_matches('-');
        let child = begun(here, out, &[]);
        signal(&child, name);
        let output = child.wait_with_output().expect("ended");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(RESUMABLE), "{error}");
        let again = format!("mtl train embedded --out {out} --set train.steps=12");
        for part in ["interrupted after step", &again, "--set train.steps=60", "evaluation.every=20 --resume"] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
        assert!(!here.join(out).join("report.json").exists());
        good(here, &train(out, &["--resume"]));
        assert_eq!(weights(&here.join(out)), expected, "after {name}");
        assert_eq!(report(out), report("whole"));
    }

    // Killed without a word, in the middle of whatever it was doing, more than once.
    let mut child = begun(here, "killed", &[]);
    refused(here, &train("killed", &["--resume"]), &["killed", &child.id().to_string(), "is training in it", "--out"]);
    child.kill().expect("killed");
    child.wait().expect("ended");
    for wait in [700, 1300] {
        let mut child = command(here, &train("killed", &["--resume"])).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    good(here, &train("killed", &["--resume"]));
    assert_eq!(weights(&here.join("killed")), expected);
    assert_eq!(report("killed"), report("whole"));
    let steps = std::fs::read_to_string(here.join("killed/metrics.jsonl")).expect("metrics");
    let steps: Vec<u64> = steps.lines().filter_map(|line| crate::tool::json(line)["step"].as_u64()).collect();
    assert_eq!(steps, (0..60).collect::<Vec<_>>(), "one line a step, whatever was lost on the way");

    let used = run(here, &train("whole", &[]));
    assert_eq!(used.code, Some(1));
    assert!(used.error.contains("already holds a run") && used.error.contains("--resume"), "{}", used.error);
    refused(
        here,
        &train("whole", &["--resume", "--set", "train.seed=3"]),
        &["of another recipe", "recipe.toml", "--out"],
    );
    refused(here, &train("new", &["--resume"]), &["no checkpoint to resume from"]);
    assert_eq!(weights(&here.join("whole")), expected, "nothing of that touched the run");
}
