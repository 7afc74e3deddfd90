//! What a run takes is told beforehand, and a limit of memory ends one with a sentence.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::tool::{Ended, SMALL, command, good, json};

/// Runs a command under `ulimit -v`, in kilobytes.
fn limited(folder: &Path, kilobytes: u64, arguments: &[&str]) -> (Ended, bool) {
    let plain = command(folder, arguments);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v \"$0\"; exec \"$@\"", &kilobytes.to_string()]).arg(plain.get_program());
    shell.args(plain.get_args()).current_dir(folder);
    shell.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = shell.output().expect("started");
    let ended = output.status.code().is_some();
    (output.into(), ended)
}

#[test]
fn a_dry_run_tells_what_a_run_takes_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [&["train", "embedded", "--dry-run", "--out", "run"], SMALL].concat();
    let text = good(folder.path(), &arguments);
    for part in ["task planted-mood (regression): ", "parameters: ", "encoder ", "memory: ", "time: ", "disk: "] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    let found = json(&good(folder.path(), &[&arguments[..], &["--json"]].concat()));
    assert_eq!((found["steps"].as_u64(), found["batch"].as_u64()), (Some(12), Some(4)));
    for key in ["weights", "gradients", "moments", "activations", "evaluation", "checkpoint"] {
        assert!(found["memory"]["estimate"][key].as_u64() > Some(0), "{key}: {found}");
    }
    let peak = found["memory"]["peak"].as_u64().expect("a peak");
    assert!(peak > found["memory"]["loaded"].as_u64().expect("resident bytes"), "{found}");
    assert!(!folder.path().join("run").exists() && !folder.path().join("runs").exists(), "no run folder");
}

/// A run that takes a while, and activations for the most part.
fn large(out: &str) -> Vec<&str> {
    let mut words = vec!["train", "embedded", "--out", out];
    for set in [
        "train.steps=12",
        "train.batch=256",
        "train.threads=1",
        "train.save_every=2",
        "evaluation.every=6",
        "evaluation.limit=24",
        "sharing.strategy=hard",
    ] {
        words.extend(["--set", set]);
    }
    words
}

#[test]
fn a_limit_of_memory_ends_a_run_with_a_sentence_and_its_checkpoint_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let found = json(&good(here, &[&large("run")[..], &["--dry-run", "--json"]].concat()));
    let kilobytes = |key: &str| found["memory"][key].as_u64().expect("bytes") / 1024;
    let peak = kilobytes("peak");

    // A run that is interrupted behind its first checkpoint.
    let mut child = command(here, &large("run")).spawn().expect("started");
    let (checkpoint, since) = (here.join("run/checkpoints/last"), Instant::now());
    while !checkpoint.join("manifest.json").exists() {
        assert!(child.try_wait().expect("waited").is_none(), "it ended before its first checkpoint");
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    let stopped = child.wait_with_output().expect("ended");
    assert_eq!(stopped.status.code(), Some(75), "{}", String::from_utf8_lossy(&stopped.stderr));

    // Below this the system does not even load the program.
    let starts = |limit: &u64| limited(here, *limit, &["--version"]).0.code == Some(0);
    let least = (8..).map(|at| at * 2048).find(starts).expect("a limit under which it starts");
    assert!(least < peak, "{least} kB to start, {peak} kB to train");
    let resumed = [&large("run")[..], &["--resume"]].concat();
    let (mut refused, mut ended) = (0, 0);
    for at in 0..20 {
        // Up to less than what is resident at the peak; of addresses there are always more.
        let limit = least + at * (peak - least) / 20;
        let (found, by_itself) = limited(here, limit, &resumed);
        assert!(by_itself, "{limit} kB of {peak}: a signal: {}", found.error);
        // A dry run's peak is that of the longest batches; the run itself may do with somewhat less.
        if found.code == Some(0) {
            assert!(at >= 15, "{limit} kB of {peak} were enough");
            break;
        }
        assert!(matches!(found.code, Some(1 | 71)), "{limit} kB: {:?}: {}", found.code, found.error);
        assert!(found.error.contains("error: ") && found.error.contains("memory"), "{limit} kB: {}", found.error);
        if found.error.contains("would not fit") { refused += 1 } else { ended += 1 }
    }
    assert!(refused > 0 && ended > 0, "{refused} were refused beforehand, {ended} ended where memory did");
    // Whatever it is by now, the last checkpoint is whole.
    good(here, &resumed);
}
