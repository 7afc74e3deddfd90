//! The process that reads inputs.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mtl_fuzz::Target;

use super::Fuzz;

/// How far a worker is, in a file, because a worker may end at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Cases begun, those before `--from` included.
    pub(super) begun: u64,
    /// Microseconds that the slowest of them took.
    pub(super) slowest: u64,
}

impl Progress {
    fn write(self, file: &mut File) -> std::io::Result<()> {
        let bytes = [self.begun.to_le_bytes(), self.slowest.to_le_bytes()].concat();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&bytes)
    }

    /// What the worker has written last; none if it has not begun.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self { begun: number(0)?, slowest: number(8)? })
    }
}

/// Reads `--input`, or cases from `--from` on to the last of `--runs`, in a process of little memory. Whoever started it
/// ends it.
pub(super) fn work(fuzz: &Fuzz, target: &'static Target, path: &Path) -> Result<ExitCode> {
    limit(fuzz.memory << 20)?;
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut progress = Progress { begun: fuzz.from, slowest: 0 };
    if let Some(input) = &fuzz.input {
        let bytes = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
        Progress { begun: 1, ..progress }.write(&mut file)?;
        match (target.read)(&bytes) {
            Ok(()) => eprintln!("read"),
            Err(error) => eprintln!("refused: {error:#}"),
        }
        target.run(&bytes);
        return Ok(ExitCode::SUCCESS);
    }
    let seeds = mtl_fuzz::corpus::of(target.name);
    for case in fuzz.from..fuzz.runs.unwrap_or(u64::MAX) {
        let bytes = mtl_fuzz::mutate::input(target, &seeds, fuzz.seed, case);
        progress.begun = case + 1;
        progress.write(&mut file)?;
        let start = Instant::now();
        target.run(&bytes);
        progress.slowest = progress.slowest.max(start.elapsed().as_micros().min(u64::MAX.into()) as u64);
    }
    progress.write(&mut file)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes this process the right to more than `bytes` of address space (what asks for more ends by an abort), and to
/// outlive the process that watches it.
#[cfg(target_os = "linux")]
fn limit(bytes: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot end with the process that watches")?;
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit).context("cannot limit the memory of this process")
}

#[cfg(not(target_os = "linux"))]
fn limit(_bytes: u64) -> Result<()> {
    Ok(())
}

/// Processor time that the process `id` has used so far; none where that is not told.
pub(super) fn processor_time(id: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program stands in brackets and may hold anything; user and system time are the 14th and 15th.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // A hundred a second, on every Linux there is.
    Some(Duration::from_millis(ticks * 10))
}
