//! Closed and full standard streams: what runs ends, and a reader that has read enough is no error.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use crate::tool::{SMALL, command, good};

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

#[test]
fn a_full_or_closed_terminal_ends_no_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let train = |out: &'static str| [&["train", "embedded", "--out", out], SMALL].concat();
    let report = |out: &str| here.join(out).join("report.json").exists();

    let ended = command(here, &train("full")).stdout(full()).stderr(full()).status().expect("started");
    assert!(ended.success() && report("full"), "{ended}");
    // Nobody reads either stream, from the first line on.
    let mut child = command(here, &train("closed")).spawn().expect("started");
    drop((child.stdout.take(), child.stderr.take()));
    let ended = child.wait().expect("ended");
    assert!(ended.success() && report("closed"), "{ended}");
    // A message that cannot be written changes no exit code.
    let other = [train("full"), vec!["--set", "train.seed=3"]].concat();
    let ended = command(here, &other).stdout(full()).stderr(full()).status().expect("started");
    assert_eq!(ended.code(), Some(1));
    predictions_stop_when_nobody_reads(here);
}

fn predictions_stop_when_nobody_reads(here: &Path) {
    let lines = "suba sube\n".repeat(5000);
    std::fs::write(here.join("lines.txt"), &lines).expect("written");
    std::fs::write(here.join("table.csv"), format!("text\n{lines}")).expect("written");
    for input in ["lines.txt", "table.csv"] {
        let mut child = command(here, &["predict", "full", "--input", input]).spawn().expect("started");
        let mut first = [0; 1];
        child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a line");
        let ended = child.wait_with_output().expect("ended");
        assert!(ended.status.success(), "{input}: {}", ended.status);
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    }
}

#[test]
fn lists_end_quietly_when_nobody_reads_and_say_when_the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    assert!(good(here, &["list", "rules"]).lines().count() > 1);
    let mut child = command(here, &["list"]).spawn().expect("started");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("ended");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));

    let ended = command(here, &["list", "rules"]).stdout(full()).output().expect("started");
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && told.contains("cannot write to standard output"), "{told}");
}
