//! Runs the binary in a folder of its own, with a cache of its own, without a network.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Settings that make the embedded recipe a matter of a second or two.
pub(crate) const SMALL: &[&str] = &[
    "--set",
    "train.steps=12",
    "--set",
    "train.batch=4",
    "--set",
    "train.limit=80",
    "--set",
    "evaluation.every=6",
    "--set",
    "evaluation.limit=24",
];

pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtl"));
    command.args(arguments).current_dir(folder).env("HF_HUB_OFFLINE", "1").env_remove("RUST_BACKTRACE");
    command.env("MTL_CACHE", folder.join("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command left behind.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let ended = Self { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) };
        assert!(!ended.error.contains("panicked"), "{}", ended.error);
        ended
    }
}

/// Runs a command that may fail.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Ended {
    command(folder, arguments).output().expect("started").into()
}

/// Runs a command that has to succeed; its standard output.
pub(crate) fn good(folder: &Path, arguments: &[&str]) -> String {
    let ended = run(folder, arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.error);
    ended.out
}

/// Runs a command that has to be refused, with all of `named` in its message.
pub(crate) fn refused(folder: &Path, arguments: &[&str], named: &[&str]) {
    let ended = run(folder, arguments);
    assert_eq!(ended.code, Some(1), "{arguments:?}: {}{}", ended.out, ended.error);
    for part in [&["error: "], named].concat() {
        assert!(ended.error.contains(part), "{arguments:?}: `{part}` is missing in: {}", ended.error);
    }
}

/// As [`run`], with `input` on standard input.
pub(crate) fn fed(folder: &Path, arguments: &[&str], input: &str) -> Ended {
    let mut child = command(folder, arguments).stdin(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    child.wait_with_output().expect("ended").into()
}

/// The SHA-256 of the last weights of the run in `out`.
pub(crate) fn weights(out: &Path) -> String {
    use sha2::{Digest, Sha256};
    let bytes = std::fs::read(out.join("checkpoints/last/model.safetensors")).expect("weights");
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
