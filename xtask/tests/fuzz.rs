//! `cargo xtask fuzz` notices every way to fail, and says how to have it again.

use std::process::Command;

/// What the runner says of the parser called `name`, which fails on every input, and its exit code.
fn tried(name: &str) -> (String, Option<i32>) {
    let out = tempfile::tempdir().expect("a folder");
    let run = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let ended = command.args(["fuzz", "--target", name, "--out"]).arg(out.path()).args(more).output();
        let ended = ended.expect("the runner");
        (String::from_utf8_lossy(&ended.stdout).into_owned(), ended.status.code())
    };
    let (said, code) = run(&["--runs", "1"]);
    let input = out.path().join(format!("{name}-17-0"));
    assert!(input.exists(), "no input is kept: {said}");
    let again = format!("cargo xtask fuzz --target {name} --input {}", input.display());
    assert!(said.contains(&again) && said.contains("1 failure"), "{said}");
    let (said_again, code_again) = run(&["--input", &input.display().to_string()]);
    assert_eq!(code, code_again, "{said_again}");
    (said, code)
}

#[test]
fn panics_and_endless_messages_are_noticed() {
    let (said, code) = tried("fault-panics");
    assert!(code == Some(1) && said.contains("0 bytes are too many"), "{said}");
    let (said, code) = tried("fault-rambles");
    assert!(code == Some(1) && said.contains("100000 bytes of message"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn memory_without_end_is_noticed() {
    let (said, code) = tried("fault-hoards");
    assert!(code == Some(1) && said.contains("the system refused"), "{said}");
}

#[test]
fn a_loop_without_end_is_noticed() {
    let (said, code) = tried("fault-loops");
    assert!(code == Some(1) && said.contains("ended after"), "{said}");
}
