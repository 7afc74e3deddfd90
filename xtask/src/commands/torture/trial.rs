//! One run to be harmed, in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::bits::Bits;
use super::case::SAVE_EVERY;
use super::harness::{Harness, Reference};

/// A run that takes longer hangs.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// What went wrong: how it is counted, and in words.
pub(super) type Wrong = Option<(&'static str, String)>;

/// One run to be harmed.
pub(super) struct Trial<'a> {
    harness: &'a Harness,
    reference: &'a Reference,
    folder: PathBuf,
}

/// A process at work.
pub(super) struct Running {
    child: Child,
    said: PathBuf,
    began: Instant,
}

/// A process that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it exited with; none if a signal ended it.
    pub(super) code: Option<i32>,
    /// What it wrote to either stream.
    pub(super) said: String,
    /// Whether it had to be killed because it did not end.
    hung: bool,
}

impl Ended {
    /// The last thing it said.
    pub(super) fn last_line(&self) -> &str {
        self.said.trim_end().lines().last().unwrap_or("it said nothing")
    }

    /// How it ended, in words.
    pub(super) fn how(&self) -> String {
        match (self.hung, self.code) {
            (true, _) => format!("it hung for {} s", LIMIT.as_secs()),
            (false, None) => "a signal ended it".into(),
            (false, Some(code)) => format!("exit {code}: {}", self.last_line()),
        }
    }
}

impl<'a> Trial<'a> {
    /// Of the case of `reference`, in the folder `folder`, which is emptied first.
    pub(super) fn new(harness: &'a Harness, reference: &'a Reference, folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        reference.case.write(folder)?;
        Ok(Self { harness, reference, folder: folder.to_path_buf() })
    }

    pub(super) fn reference(&self) -> &Reference {
        self.reference
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The program and its arguments, with `more` at the end.
    pub(super) fn words(&self, more: &[&str]) -> Vec<String> {
        let own = ["train", self.reference.case.name, "--offline", "--out", "run"];
        let program = self.harness.binary().display().to_string();
        [program].into_iter().chain(own.iter().chain(more).map(|word| (*word).to_string())).collect()
    }

    /// Starts the program with the arguments `more`, by the words of `before`: a tracer, or nothing.
    pub(super) fn start_by(&self, before: &[String], more: &[&str]) -> Result<Running> {
        self.start_as(before, more, "said")
    }

    pub(super) fn start(&self, more: &[&str]) -> Result<Running> {
        self.start_by(&[], more)
    }

    /// As [`Self::start_by`], with what it says in the file `said`.
    pub(super) fn start_as(&self, before: &[String], more: &[&str], said: &str) -> Result<Running> {
        let words: Vec<String> = before.iter().cloned().chain(self.words(more)).collect();
        let said = self.folder.join(said);
        let stream = File::create(&said).with_context(|| format!("cannot write {}", said.display()))?;
        let child = Command::new(&words[0])
            .args(&words[1..])
            .current_dir(&self.folder)
            .env("RAYON_NUM_THREADS", "1")
            .env("HF_HUB_OFFLINE", "1")
            .env("MTL_CACHE", self.folder.join("cache"))
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(stream.try_clone()?)
            .stderr(stream)
            .spawn()
            .with_context(|| format!("cannot start {}", words[0]))?;
        Ok(Running { child, said, began: Instant::now() })
    }

    pub(super) fn run(&self, more: &[&str]) -> Result<Ended> {
        self.start(more)?.wait()
    }

    /// What is added to the command that was killed: nothing, for by itself it goes on, or, where there is a checkpoint
    /// and `number` is odd, that this is wanted.
    pub(super) fn more(&self, number: usize) -> &'static [&'static str] {
        if number % 2 == 1 && self.newest().is_some() { &["--resume"] } else { &[] }
    }

    /// Goes on with a run that was harmed at point `number`.
    pub(super) fn again(&self, number: usize) -> Result<Ended> {
        self.run(self.more(number))
    }

    /// What is wrong with a run that went on to its end as `ended` says.
    pub(super) fn judge(&self, ended: &Ended) -> Result<Wrong> {
        if ended.code != Some(0) {
            return Ok(Some(("lost", ended.how())));
        }
        let bits = match Bits::of(&self.run_folder()) {
            Ok(bits) => bits,
            Err(error) => return Ok(Some(("different", format!("{error:#}")))),
        };
        let differing = bits.differing(&self.reference.bits);
        if !differing.is_empty() {
            return Ok(Some(("different", differing.join(", "))));
        }
        let left = self.left_over()?;
        Ok((!left.is_empty()).then(|| ("left over", left.join(", "))))
    }

    /// What is wrong with what stands after a kill, if step `before` was saved: more steps to be done again than between
    /// two saves.
    pub(super) fn stands(&self, before: Option<usize>) -> Wrong {
        let (saved, lines) = (self.newest(), self.lines());
        let done = before.unwrap_or(0).max(lines.saturating_sub(SAVE_EVERY));
        let there = saved.unwrap_or(0);
        (there < done).then(|| ("lost", format!("step {done} had been saved, and {there} is what stands")))
    }

    /// The step of the newest whole checkpoint that the run would go on from.
    pub(super) fn newest(&self) -> Option<usize> {
        let step = |name: &str| -> Option<usize> {
            let folder = self.run_folder().join("checkpoints").join(name);
            folder.join("manifest.json").exists().then_some(())?;
            let state: Value = serde_json::from_slice(&fs::read(folder.join("state.json")).ok()?).ok()?;
            state["step"].as_u64().map(|step| step as usize)
        };
        [".last.new", "last", "last.previous"].into_iter().filter_map(step).max()
    }

    /// Lines of `metrics.jsonl`.
    fn lines(&self) -> usize {
        fs::read_to_string(self.run_folder().join("metrics.jsonl")).unwrap_or_default().lines().count()
    }

    /// Keeps the run folder as it stands, as `kept`.
    pub(super) fn keep(&self, kept: &Path) -> Result<()> {
        if kept.exists() {
            fs::remove_dir_all(kept)?;
        }
        copied(&self.run_folder(), kept).with_context(|| format!("cannot copy to {}", kept.display()))
    }

    /// Makes the run folder what `kept` keeps.
    pub(super) fn put_back(&self, kept: &Path) -> Result<()> {
        let run = self.run_folder();
        if run.exists() {
            fs::remove_dir_all(&run)?;
        }
        copied(kept, &run).with_context(|| format!("cannot copy from {}", kept.display()))
    }

    pub(super) fn is_locked(&self) -> bool {
        fs::metadata(self.run_folder().join(".lock")).is_ok_and(|file| file.len() > 0)
    }

    /// Whether a save is under way, or was when the process ended.
    pub(super) fn is_saving(&self) -> bool {
        let checkpoints = self.run_folder().join("checkpoints");
        [".last.new", ".best.new", ".each.new"].iter().any(|name| checkpoints.join(name).exists())
    }

    /// Files below the run folder that only a write under way has.
    fn left_over(&self) -> Result<Vec<String>> {
        let (mut found, mut waiting) = (Vec::new(), vec![self.run_folder()]);
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(".writing-") || name.starts_with('.') && name.ends_with(".new") {
                    found.push(name);
                } else if entry.file_type()?.is_dir() {
                    waiting.push(entry.path());
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    pub(super) fn wait(mut self) -> Result<Ended> {
        let mut hung = false;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if self.began.elapsed() > LIMIT {
                hung = true;
                self.child.kill()?;
                break self.child.wait()?;
            }
            thread::sleep(Duration::from_millis(1));
        };
        let said = fs::read(&self.said).with_context(|| format!("cannot read {}", self.said.display()))?;
        Ok(Ended { code: status.code(), said: String::from_utf8_lossy(&said).into_owned(), hung })
    }

    /// Kills it, as a power cut would; answers whether it was still at work.
    pub(super) fn kill(mut self) -> Result<bool> {
        if self.has_ended()? {
            return Ok(false);
        }
        self.child.kill()?;
        // It may have ended just before.
        Ok(self.child.wait()?.code().is_none())
    }

    /// Sends it the signal `name`; answers whether there was somebody to get it.
    pub(super) fn signal(&self, name: &str) -> Result<bool> {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status();
        Ok(sent.context("cannot start kill")?.success())
    }
}

fn copied(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copied(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
