//! Who runs the runs: this process, some children of it, or whoever takes the printed commands.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::run::{self, Ended};
use super::watch::TotalProgress;
use super::{Experiment, Library, Options, Plan, Planned};

/// Exit code of a run that was asked to stop, or could not run now, and can continue (EX_TEMPFAIL).
pub const INTERRUPTED: u8 = 75;
/// Between two checks of the children.
const PAUSE: Duration = Duration::from_millis(200);

/// Who runs the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This machine: one after the other in this process, or so many child processes at a time.
    Local(usize),
    /// Nobody: the commands are printed.
    Print,
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("local:").map(str::parse)) {
            ("print", _) => Ok(Self::Print),
            ("local", _) => Ok(Self::Local(1)),
            (_, Some(Ok(count))) if count > 0 => Ok(Self::Local(count)),
            _ => Err(format!("expected `local`, `local:N` with N at least 1, or `print`, found `{text}`")),
        }
    }
}

/// Runs those of `lines` that are not done; false if some are left.
pub(super) fn carry_out(
    lines: &[Planned],
    plan: &Plan,
    experiment: &Experiment,
    options: &Options,
    library: &dyn Library,
    total: &mut TotalProgress,
) -> Result<bool> {
    let again = |line: &Planned| options.retry && plan.broken(line).is_some();
    let (due, done): (Vec<&Planned>, Vec<&Planned>) = lines.iter().partition(|line| !plan.is_done(line) || again(line));
    for line in done {
        if let Some(reason) = plan.broken(line) {
            total.say(&format!("broken before: {} seed {} ({}): {reason}", line.arm, line.seed, line.id));
        }
        total.skip(line);
    }
    match options.engine {
        Engine::Print => Ok(due.is_empty()),
        Engine::Local(1) => one_by_one(&due, plan, options, library, total),
        Engine::Local(count) => children(&due, plan, experiment, options, count, total),
    }
}

fn one_by_one(
    due: &[&Planned],
    plan: &Plan,
    options: &Options,
    library: &dyn Library,
    total: &mut TotalProgress,
) -> Result<bool> {
    let mut all = true;
    for (started, line) in due.iter().enumerate() {
        if total.stopped() || options.at_most.is_some_and(|most| started >= most) {
            return Ok(false);
        }
        total.start(line);
        match run::run(line, plan, library, options, total) {
            Ended::Interrupted => return Ok(false),
            Ended::Finished => {}
            Ended::Broken(reason) => total.say(&broken(line, &reason)),
            Ended::Postponed(reason) => {
                total.say(&postponed(line, &reason));
                all = false;
                continue;
            }
        }
        total.end(line);
    }
    Ok(all)
}

fn children(
    due: &[&Planned],
    plan: &Plan,
    experiment: &Experiment,
    options: &Options,
    count: usize,
    total: &mut TotalProgress,
) -> Result<bool> {
    let most = options.at_most.unwrap_or(due.len()).min(due.len());
    let mut waiting = due[..most].iter();
    let mut running: Vec<(&Planned, Child)> = Vec::new();
    let mut killed: Vec<String> = Vec::new();
    loop {
        while running.len() < count && !total.stopped() {
            let Some(line) = waiting.next() else { break };
            total.start(line);
            running.push((line, child(line, plan, experiment, options, count)?));
        }
        if running.is_empty() {
            break;
        }
        if total.stopped() {
            // The end of its input asks a child to save and stop.
            running.iter_mut().for_each(|(_, child)| drop(child.stdin.take()));
        }
        std::thread::sleep(PAUSE);
        let mut at = 0;
        while at < running.len() {
            let Some(status) = running[at].1.try_wait()? else {
                at += 1;
                continue;
            };
            let (line, _) = running.swap_remove(at);
            if !plan.is_done(line) {
                let log = plan.folder(line).with_extension("log");
                if total.stopped() {
                    continue;
                }
                if [1, i32::from(INTERRUPTED)].map(Some).contains(&status.code()) {
                    total.say(&postponed(line, &format!("see {}", log.display())));
                    continue;
                }
                // It neither finished nor said why it broke. What was killed continues from its checkpoint, once.
                if status.code().is_none() && !killed.contains(&line.id) {
                    killed.push(line.id.clone());
                    running.push((line, child(line, plan, experiment, options, count)?));
                    continue;
                }
                plan.mark_broken(line, format!("its process ended with {status}; see {}", log.display()))?;
            }
            if let Some(reason) = plan.broken(line) {
                total.say(&broken(line, &reason));
            }
            total.end(line);
        }
        total.show();
    }
    Ok(due.iter().all(|line| plan.is_done(line)))
}

/// A child that runs `line` for as long as this process holds its standard input: a signal may be sent to this process
/// alone, or it may be killed. The machine's cores are divided, which changes no result.
fn child(line: &Planned, plan: &Plan, experiment: &Experiment, options: &Options, count: usize) -> Result<Child> {
    let log = plan.folder(line).with_extension("log");
    std::fs::create_dir_all(log.parent().context("a folder of runs")?)?;
    let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
    command.args(["compare", &experiment.name, "--run", &line.id, "--until-eof", "--out"]).arg(&options.out);
    if options.offline {
        command.arg("--offline");
    }
    for given in &options.data {
        command.args(["--data", given]);
    }
    if options.retry {
        command.arg("--retry");
    }
    command.args(["--device", &options.device.to_string()]);
    command.env("RAYON_NUM_THREADS", (cores / count).max(1).to_string());
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    match command.spawn() {
        Ok(child) => Ok(child),
        Err(error) => bail!("cannot start a run: {error}"),
    }
}

fn broken(line: &Planned, reason: &str) -> String {
    format!("broken: {} seed {} ({}): {reason}", line.arm, line.seed, line.id)
}

fn postponed(line: &Planned, reason: &str) -> String {
    format!("left for the next call: {} seed {} ({}): {reason}", line.arm, line.seed, line.id)
}
