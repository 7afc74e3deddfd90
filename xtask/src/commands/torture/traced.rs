//! Runs under strace, which writes down system calls, and kills the process or fails the call at one of them.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::trial::{Ended, Trial};

/// Calls that change names.
const NAMES: &str = "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir";
/// Calls that bring bytes to the disk, or begin to.
const BYTES: &str = "openat,write,fsync,fdatasync,ftruncate";

/// A system call of the main thread: the how manieth of its name since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) ordinal: usize,
    /// Its line in the log, for messages.
    line: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} number {}, {}", self.name, self.ordinal, self.line)
    }
}

/// Why nothing can be traced here, if so.
pub(super) fn missing() -> Option<String> {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    match tried {
        Err(_) => Some("strace is not installed".into()),
        Ok(status) if !status.success() => Some("strace may not trace here".into()),
        Ok(_) => None,
    }
}

/// Only the calls asked for stop the process, which keeps the rest at its speed; a signal needs all of them to stop it.
const FAST: &str = "--seccomp-bpf";

fn strace(more: &[&str]) -> Vec<String> {
    ["strace", "-f", "-qq"].iter().chain(more).map(|word| (*word).to_string()).collect()
}

/// Runs `trial` with the arguments `more`, and answers what it called in its run folder with how it ended.
pub(super) fn logged(trial: &Trial, more: &[&str]) -> Result<(Vec<Line>, Ended)> {
    let trace = format!("trace={NAMES},{BYTES}");
    let ended = trial.start_by(&strace(&[FAST, "-y", "-o", "log", "-e", &trace]), more)?.wait()?;
    let log = trial.folder().join("log");
    let text = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok((lines(&text), ended))
}

/// Runs `trial`, and kills it where it enters `call`; answers whether it got there.
pub(super) fn killed(trial: &Trial, call: &Call, more: &[&str]) -> Result<bool> {
    Ok(injected(trial, call, "signal=SIGKILL", &[], more)?.code.is_none())
}

/// Runs `trial`, and fails `call` with `error`.
pub(super) fn failed(trial: &Trial, call: &Call, error: &str) -> Result<Ended> {
    injected(trial, call, &format!("error={error}"), &[FAST], &[])
}

fn injected(trial: &Trial, call: &Call, fault: &str, how: &[&str], more: &[&str]) -> Result<Ended> {
    let trace = format!("trace={}", call.name);
    let inject = format!("inject={}:{fault}:when={}", call.name, call.ordinal);
    let words = [how, &["-o", "/dev/null", "-e", &trace, "-e", &inject]].concat();
    trial.start_by(&strace(&words), more)?.wait()
}

/// A call in the run folder, and how many saves had begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) call: Call,
    pub(super) saves: usize,
}

/// The calls of the main thread, which is the first to be logged, in the run folder.
fn lines(log: &str) -> Vec<Line> {
    let (mut main, mut saves) = (None, 0);
    let mut ordinals: Vec<(String, usize)> = Vec::new();
    let mut found = Vec::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        if *main.get_or_insert(thread) != thread {
            continue;
        }
        let rest = rest.trim_start();
        // What goes on with an earlier line has none.
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        if !name.bytes().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit()) {
            continue;
        }
        let at = ordinals.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            ordinals.push((name.to_string(), 0));
            ordinals.len() - 1
        });
        ordinals[at].1 += 1;
        // Every file of a save asks for the folder; the first one makes it.
        if name.starts_with("mkdir") && arguments.contains("checkpoints/.last.new\"") && arguments.ends_with("= 0") {
            saves += 1;
        }
        if arguments.contains("run/") {
            let call = Call { name: name.into(), ordinal: ordinals[at].1, line: short(arguments) };
            found.push(Line { call, saves });
        }
    }
    found
}

/// What of a call's arguments is told: from the run folder on, without what is written.
fn short(arguments: &str) -> String {
    let from = arguments.find("run/").unwrap_or(0);
    arguments[from..].chars().take_while(|letter| !"\">,".contains(*letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_main_thread_are_numbered_and_saves_counted() {
        let log = "7 openat(AT_FDCWD, \"/etc/x\", O_RDONLY) = 3</etc/x>\n\
                   8 openat(AT_FDCWD, \"run/y\", O_RDONLY) = 4</run/y>\n\
                   7 mkdir(\"run/checkpoints/.last.new\", 0777) = 0\n\
                   7 openat(AT_FDCWD, \"run/checkpoints/.last.new/.writing-1\", O_WRONLY) = 3</t/run/checkpoints/x>\n\
                   7 mkdir(\"run/checkpoints/.last.new\", 0777) = -1 EEXIST (File exists)\n\
                   7 <... write resumed>) = 5\n\
                   7 write(3</t/run/checkpoints/.last.new/.writing-1>, \"bytes\", 5) = 5\n";
        let told: Vec<(String, usize, usize)> =
            lines(log).into_iter().map(|line| (line.call.name, line.call.ordinal, line.saves)).collect();
        let wanted = [("mkdir", 1, 1), ("openat", 2, 1), ("mkdir", 2, 1), ("write", 1, 1)];
        assert_eq!(told, wanted.map(|(name, ordinal, saves)| (name.to_string(), ordinal, saves)));
        assert_eq!(short("3</t/run/checkpoints/x>, \"by\", 2) = 2"), "run/checkpoints/x");
    }
}
