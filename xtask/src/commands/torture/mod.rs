//! `cargo xtask torture`: faults of every kind done to the program as it is used, and what is left of its runs.
//!
//! Each section does one kind of harm at points that the project's own generator draws from a seed: to runs of tiny
//! recipes ([`case`]) in folders of their own, which afterwards go on and have to end with the bits ([`bits`]) of runs
//! that nobody harmed. What a section finds wrong is said with its seed and point, by which it can be repeated.

mod bits;
mod calls;
mod case;
mod errors;
mod flips;
mod full;
mod harness;
mod kills;
mod lying;
mod signals;
mod tally;
mod traced;
mod trial;
mod two;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use harness::Harness;
use tally::Outcome;

/// Harm runs in every way there is, and see that nothing is lost.
///
/// Kills at random moments and at every system call of a save, errors of the disk, flipped bytes, signals, two processes
/// in one folder, a full disk, and a Hub server that lies. Prints a line a section, then a summary as JSON; fails if
/// anything was lost. Sections that need what is not there (strace, the right to mount) are skipped aloud; if all are,
/// the exit code is 77.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} torture\n  {program} torture --quick\n  \
    {program} torture --section kills --seed 7 --point 31")]
pub(crate) struct Torture {
    /// Do this section alone; may be repeated [default: all]
    #[arg(long = "section", value_name = "NAME", value_parser = SECTIONS.map(|section| section.name))]
    sections: Vec<String>,
    /// Points of each section [default: what each one has by itself]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    points: Option<u32>,
    /// Do this point alone, to repeat what went wrong there
    #[arg(long, value_name = "P")]
    point: Option<usize>,
    /// What all points are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Few points of each section: for every change of the code
    #[arg(long)]
    quick: bool,
    /// The program to harm [default: this one]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Where to work [default: the system's temporary folder for kills, and for all else memory, where it has such a folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Points at a time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Write the summary to this file too
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

/// What is exited with if nothing could be done here: neither passed nor failed.
const SKIPPED: u8 = 77;

/// A kind of harm.
struct Section {
    name: &'static str,
    /// Points by themselves, and in the quick form; no section has more than there are calls to harm.
    points: (usize, usize),
    run: fn(&Harness, usize) -> Result<Outcome>,
}

const SECTIONS: [Section; 8] = [
    Section { name: "kills", points: (200, 8), run: kills::run },
    Section { name: "calls", points: (10_000, 6), run: calls::run },
    Section { name: "errors", points: (10_000, 9), run: errors::run },
    Section { name: "flips", points: (1000, 12), run: flips::run },
    Section { name: "signals", points: (50, 5), run: signals::run },
    Section { name: "two", points: (10, 2), run: two::run },
    Section { name: "full", points: (30, 3), run: full::run },
    Section { name: "server", points: (60, 24), run: lying::run },
];

impl Torture {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let binary = match &self.binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("no program at {}", binary.display()))?,
            None => std::env::current_exe().context("this program does not know where it lies")?,
        };
        let jobs = match self.jobs {
            Some(jobs) => jobs as usize,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let harness = Harness::new(binary, self.folder.as_deref(), self.seed, self.point, jobs)?;
        let (mut sections, mut failed, mut skipped) = (Map::new(), false, true);
        for section in &SECTIONS {
            if !self.sections.is_empty() && !self.sections.iter().any(|name| name == section.name) {
                continue;
            }
            let own = if self.quick { section.points.1 } else { section.points.0 };
            let points = self.points.map_or(own, |points| points as usize);
            let began = Instant::now();
            let outcome = (section.run)(&harness, points).with_context(|| format!("section {}", section.name))?;
            let seconds = began.elapsed().as_secs_f64();
            println!("{}: {outcome} ({seconds:.0} s)", section.name);
            if let Outcome::Tried(tally) = &outcome {
                skipped = false;
                failed |= !tally.failures().is_empty();
                for (point, what) in tally.failures() {
                    println!(
                        "  --section {} --points {points} --seed {} --point {point}: {what}",
                        section.name, self.seed
                    );
                }
            }
            let mut entry = outcome.to_json();
            entry["seconds"] = json!(seconds);
            sections.insert(section.name.into(), entry);
        }
        let summary: Value = json!({
            "binary": harness.binary().display().to_string(), "seed": self.seed, "quick": self.quick,
            "passed": !failed, "sections": sections,
        });
        println!("{summary}");
        if let Some(path) = &self.summary {
            std::fs::write(path, format!("{summary:#}\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if failed {
            bail!("something was lost, see above; the options before each finding repeat it")
        }
        Ok(if skipped { ExitCode::from(SKIPPED) } else { ExitCode::SUCCESS })
    }
}
