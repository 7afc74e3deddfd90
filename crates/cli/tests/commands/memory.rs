//! What a run takes is told beforehand, and a limit of memory ends one with a sentence.

use std::path::Path;
use std::process::Command;

use crate::tool::{Ended, SMALL, command, good, json, run};

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

#[test]
fn a_limit_of_memory_ends_a_run_with_a_sentence_and_its_checkpoint_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    // A batch whose activations are what memory goes to.
    let large = ["--set", "train.batch=512", "--set", "train.limit=0", "--set", "train.threads=1"];
    let first = [&["train", "embedded", "--out", "run"], SMALL, &["--set", "train.batch=4"]].concat();
    good(here, &first);
    let checkpoint = here.join("run/checkpoints/last/model.safetensors");
    let before = std::fs::read(&checkpoint).expect("weights");

    let train = [&["train", "embedded", "--out", "large"], SMALL, &large].concat();
    let enough = json(&good(here, &[&train[..], &["--dry-run", "--json"]].concat()));
    let loaded = enough["memory"]["loaded"].as_u64().expect("resident bytes") / 1024;
    let peak = enough["memory"]["peak"].as_u64().expect("a peak") / 1024;
    let (mut refused, mut ended) = (0, 0);
    for at in 0..20 {
        // From less than what is loaded to less than what the steps need: address space is more than what is resident.
        let limit = loaded / 2 + at * (peak - loaded / 2) / 20;
        let (found, by_itself) = limited(here, limit, &train);
        assert!(by_itself, "{limit} kB of {peak}: a signal: {}", found.error);
        assert!(matches!(found.code, Some(1 | 71)), "{limit} kB: {:?}: {}", found.code, found.error);
        let said = found.error.contains("error: ") && found.error.contains("memory");
        assert!(said, "{limit} kB: {:?}: {}", found.code, found.error);
        assert!(!found.error.contains("RUST_BACKTRACE"), "{}", found.error);
        if found.error.contains("would not fit") { refused += 1 } else { ended += 1 }
    }
    assert!(refused > 0 && ended > 0, "{refused} were refused beforehand, {ended} ended where memory did");
    assert_eq!(std::fs::read(&checkpoint).expect("weights"), before);
    // What was trained before goes on, and what was refused begins where there is room.
    assert_eq!(run(here, &[&first[..], &["--resume"]].concat()).code, Some(0));
}
