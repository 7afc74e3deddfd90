//! A worker that is watched: how far it is, how long it takes, and how it ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mtl_fuzz::Target;

use super::Fuzz;
use super::failure::Kind;
use super::worker::{Progress, processor_time};

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(5);
/// On a machine that is busy with other things a worker may have to wait so many times as long.
const PATIENCE: u32 = 12;
const PAUSE: Duration = Duration::from_millis(10);

/// Workers of one target, and the folder that they write into.
pub(super) struct Watched<'a> {
    fuzz: &'a Fuzz,
    target: &'static Target,
    folder: PathBuf,
}

/// How a worker ended.
pub(super) struct Ended {
    /// The first case that it has not begun.
    pub(super) next: u64,
    /// The longest that a case took.
    pub(super) slowest: Duration,
    /// How the last case failed, if it did.
    pub(super) failed: Option<Kind>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(fuzz: &'a Fuzz, target: &'static Target) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("mtl-fuzz-workers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { fuzz, target, folder })
    }

    /// Has cases read, the first `least` of them and then others for `longest`, up to `until`.
    pub(super) fn cases(&self, from: u64, until: u64, least: u64, longest: Duration) -> Result<Ended> {
        let mut more = vec!["--from".to_string(), from.to_string()];
        if until < u64::MAX {
            more.extend(["--runs".to_string(), until.to_string()]);
        }
        let start = Instant::now();
        let over = |begun: u64| begun > least && start.elapsed() >= longest;
        self.watch(&more, from, over)
    }

    /// Has the file `path` read: how that fails, and what is said of it.
    pub(super) fn input(&self, path: &Path) -> Result<(Option<Kind>, String)> {
        let more = ["--input".to_string(), path.display().to_string()];
        let ended = self.watch(&more, 0, |_| false)?;
        let said = std::fs::read(self.said()).unwrap_or_default();
        Ok((ended.failed, String::from_utf8_lossy(&said).into_owned()))
    }

    fn said(&self) -> PathBuf {
        self.folder.join("said")
    }

    fn start(&self, more: &[String], progress: &Path) -> Result<Child> {
        let program = std::env::current_exe().context("which program is this?")?;
        Command::new(program)
            .args(["fuzz", "--target", self.target.name, "--seed", &self.fuzz.seed.to_string()])
            .args(["--memory", &self.fuzz.memory.to_string(), "--worker"])
            .arg(progress)
            .args(more)
            .env("TMPDIR", &self.folder)
            // Address space that is reserved for other threads' allocations is no memory that a parser uses.
            .env("MALLOC_ARENA_MAX", "1")
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.said()).context("cannot write what a worker says")?)
            .spawn()
            .context("cannot start a worker")
    }

    /// Starts a worker and waits until it ends, is stuck, or `over` says of the cases begun that they are enough.
    fn watch(&self, more: &[String], from: u64, over: impl Fn(u64) -> bool) -> Result<Ended> {
        let path = self.folder.join("progress");
        let _ = std::fs::remove_file(&path);
        let mut worker = self.start(more, &path)?;
        let mut seen = Progress { begun: from, slowest: 0 };
        let (mut since, mut used) = (Instant::now(), Duration::ZERO);
        let failed = loop {
            if let Some(status) = worker.try_wait()? {
                seen = Progress::read(&path).unwrap_or(seen);
                break (!status.success()).then(|| self.broken(status));
            }
            let now = Progress::read(&path).unwrap_or(seen);
            let processor = processor_time(worker.id());
            if now.begun != seen.begun {
                (since, used) = (Instant::now(), processor.unwrap_or_default());
            }
            seen = now;
            // Before its first case a worker makes what inputs are put into.
            let waited = since.elapsed();
            let busy = processor.is_none_or(|processor| processor.saturating_sub(used) >= LONGEST);
            let stuck = (waited >= LONGEST && busy && seen.begun > from) || waited >= LONGEST * PATIENCE;
            if stuck || over(seen.begun) {
                worker.kill().context("cannot end a worker")?;
                worker.wait()?;
                break stuck.then_some(Kind::Slow(waited));
            }
            std::thread::sleep(PAUSE);
        };
        let slowest = Duration::from_micros(seen.slowest);
        Ok(Ended { next: seen.begun, slowest, failed })
    }

    /// What a worker that broke has said last.
    fn broken(&self, status: ExitStatus) -> Kind {
        let said = std::fs::read(self.said()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(1 << 16)..]).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        let marks = ["panicked at", "memory allocation of", "stack overflow"];
        let telling = |line: &&str| marks.iter().any(|mark| line.contains(mark));
        let last = match lines.iter().rposition(telling) {
            Some(at) => lines[at..].iter().take(2).copied().collect::<Vec<_>>().join(" "),
            None => lines.last().copied().unwrap_or_default().to_string(),
        };
        Kind::Broken { how: status.to_string(), said: last.chars().take(400).collect() }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
