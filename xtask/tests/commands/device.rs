//! `--device cuda` of a binary without the feature: it builds another, hands over, and says what is missing.
//! The cargo of these tests is a script, so that nothing is built.

use std::os::unix::fs::PermissionsExt;

use crate::tool::{Ended, command};

const TRAIN: [&str; 4] = ["train", "embedded", "--device", "cuda"];

/// What `train --device cuda` says where building answers `build` and running answers `run`.
fn handed_over(build: i32, run: i32) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("cargo");
    let text = format!("#!/bin/sh\necho \"$@\"\nif [ \"$1\" = build ]; then exit {build}; fi\nexit {run}\n");
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("runnable");
    command(folder.path(), &TRAIN).env("CARGO", script).output().expect("started").into()
}

#[test]
fn another_device_is_another_binary() {
    if cfg!(feature = "cuda") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let alone: Ended = command(folder.path(), &TRAIN).env_remove("CARGO").output().expect("started").into();
    assert_eq!(alone.code, Some(1), "{}", alone.error);
    assert!(alone.error.contains("built without `cuda`; build it with --features cuda"), "{}", alone.error);

    let done = handed_over(0, 75);
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
    for (ended, missing) in [(handed_over(101, 0), "`nvcc` on the path"), (handed_over(0, 127), "libcuda.so.1")] {
        assert_eq!(ended.code, Some(1), "{}", ended.error);
        for part in ["error: ", missing, "docs/cuda.md", "leave --device out"] {
            assert!(ended.error.contains(part), "`{part}` is missing in {}", ended.error);
        }
    }
}
