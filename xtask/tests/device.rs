//! `--device cuda` of `cargo xtask` without the feature: it builds another binary, passes control, and says what is
//! missing.
//! The cargo of these tests is a script, so that nothing is built.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const TRAIN: [&str; 4] = ["train", "embedded", "--device", "cuda"];

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(TRAIN).current_dir(folder).env("HF_HUB_OFFLINE", "1").env_remove("RUST_BACKTRACE");
    command
}

/// What a command left behind.
struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
    }
}

/// What `train --device cuda` says where building answers `build` and running answers `run`.
fn passed_to(build: i32, run: i32) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("cargo");
    let text = format!("#!/bin/sh\necho \"$@\"\nif [ \"$1\" = build ]; then exit {build}; fi\nexit {run}\n");
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("runnable");
    command(folder.path()).env("CARGO", script).output().expect("started").into()
}

#[test]
fn another_device_is_another_binary() {
    if cfg!(feature = "cuda") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let alone: Ended = command(folder.path()).env_remove("CARGO").output().expect("started").into();
    assert_eq!(alone.code, Some(1), "{}", alone.error);
    assert!(alone.error.contains("built without `cuda`; build it with --features cuda"), "{}", alone.error);

    let done = passed_to(0, 75);
    assert_eq!(done.code, Some(75), "the other binary's answer is this one's: {}", done.error);
    let with = "--release --package xtask --features cuda";
    assert!(
        done.out.contains(&format!("build {with}\nrun {with} --quiet -- train embedded --device cuda")),
        "{}",
        done.out
    );
}

#[test]
fn what_a_device_lacks_is_named_with_the_remedy() {
    if cfg!(feature = "cuda") {
        return;
    }
    for (ended, missing) in [(passed_to(101, 0), "`nvcc` on the path"), (passed_to(0, 127), "libcuda.so.1")] {
        assert_eq!(ended.code, Some(1), "{}", ended.error);
        for part in ["error: ", missing, "docs/cuda.md", "leave --device out"] {
            assert!(ended.error.contains(part), "`{part}` is missing in {}", ended.error);
        }
    }
}
