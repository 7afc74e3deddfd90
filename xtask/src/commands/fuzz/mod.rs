//! `cargo xtask fuzz`: the parsers of `mtl-fuzz` on mutations of its corpus, by a stable toolchain.
//!
//! Inputs are read in a process of their own, whose memory is limited and which is watched, so that an abort, an
//! allocation without end and a loop without end are found as well as a panic. What fails is written to a file, made
//! smaller, and told with the command that does it again.

mod failure;
mod smaller;
mod watched;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use mtl_fuzz::{TARGETS, Target};

use failure::Failure;
use watched::Watched;

/// Feed the parsers with damaged files, and say which of them fail.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// A parser; may be repeated. All if left out
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// How long each parser is tried
    #[arg(long, value_name = "SECONDS", default_value_t = 10., conflicts_with_all = ["runs", "quick"])]
    seconds: f64,
    /// How many inputs each parser is tried with, however long it takes
    #[arg(long, value_name = "COUNT", conflicts_with = "quick")]
    runs: Option<u64>,
    /// The whole corpus, and mutations for a minute in all
    #[arg(long)]
    quick: bool,
    /// Seed of the mutations
    #[arg(long, default_value_t = 17)]
    seed: u64,
    /// Read this file alone, by the one parser named
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Where inputs that fail are written
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz")]
    out: PathBuf,
    /// The memory that a parser has, its program's own included
    #[arg(long, value_name = "MEGABYTES", default_value_t = 512)]
    memory: u64,
    /// List the parsers
    #[arg(long)]
    list: bool,
    /// Read inputs in this process, and write how far it is into this file
    #[arg(long, value_name = "FILE", hide = true)]
    worker: Option<PathBuf>,
    /// The first case of a worker
    #[arg(long, default_value_t = 0, hide = true)]
    from: u64,
}

/// No parser is tried further once it has failed so often.
const MOST_FAILURES: usize = 5;
/// What `--quick` takes.
const QUICK: f64 = 60.;

impl Fuzz {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.list {
            for target in TARGETS {
                println!("{:<18}{}", target.name, target.about);
            }
            return Ok(ExitCode::SUCCESS);
        }
        let targets = self.targets()?;
        if let Some(progress) = &self.worker {
            return worker::work(&self, targets[0], progress);
        }
        if self.input.is_some() {
            let [target] = targets[..] else { bail!("--input is read by one parser: give one --target") };
            return self.one(target);
        }
        let start = Instant::now();
        let mut failed = 0;
        for target in &targets {
            failed += self.try_out(target)?;
        }
        let (count, spent) = (targets.len(), start.elapsed().as_secs());
        if failed > 0 {
            println!("{} of {count} parsers in {spent} s", counted(failed));
            return Ok(ExitCode::FAILURE);
        }
        println!("{} of {count} parsers in {spent} s", counted(0));
        Ok(ExitCode::SUCCESS)
    }

    fn targets(&self) -> Result<Vec<&'static Target>> {
        if self.target.is_empty() {
            return Ok(TARGETS.iter().collect());
        }
        let named = |name: &String| match Target::named(name) {
            Some(target) => Ok(target),
            None => {
                let nearest = mtl_task::nearest(name, TARGETS.iter().map(|target| target.name));
                bail!("unknown parser `{name}`{nearest}; `--list` names them")
            }
        };
        self.target.iter().map(named).collect()
    }

    /// How long a parser is tried at most, and with how many inputs.
    fn budget(&self) -> (Duration, u64) {
        match (self.runs, self.quick) {
            (Some(runs), _) => (Duration::MAX, runs),
            (None, true) => (Duration::from_secs_f64(QUICK / TARGETS.len() as f64), u64::MAX),
            (None, false) => (Duration::from_secs_f64(self.seconds.max(0.)), u64::MAX),
        }
    }

    /// Tries one parser; returns how often it failed.
    fn try_out(&self, target: &'static Target) -> Result<usize> {
        let (longest, until) = self.budget();
        let seeds = mtl_fuzz::corpus::of(target.name);
        // The corpus is read whole, however short the time is.
        let least = seeds.len() as u64;
        let (start, mut from, mut failures) = (Instant::now(), 0, Vec::new());
        let mut slowest = Duration::ZERO;
        while from < until && failures.len() < MOST_FAILURES {
            let watched = Watched::new(self, target)?;
            let ended = watched.cases(from, until, least, longest.saturating_sub(start.elapsed()))?;
            slowest = slowest.max(ended.slowest);
            from = ended.next;
            let Some(kind) = ended.failed else { break };
            let input = mtl_fuzz::mutate::input(target, &seeds, self.seed, from - 1);
            failures.push(Failure { target, case: Some(from - 1), kind, input });
        }
        let spent = start.elapsed().as_secs_f64();
        println!(
            "{:<18}{from:>9} runs {:>8.0}/s   slowest {:>5} ms   {}",
            target.name,
            from as f64 / spent,
            slowest.as_millis(),
            counted(failures.len())
        );
        for failure in &failures {
            let smaller = smaller::input(self, failure)?;
            failure.tell(self, &smaller)?;
        }
        Ok(failures.len())
    }

    /// Reads the input that was given.
    fn one(&self, target: &'static Target) -> Result<ExitCode> {
        let Some(path) = &self.input else { bail!("no input") };
        let (kind, said) = Watched::new(self, target)?.input(path)?;
        println!("{}", said.trim_end());
        match kind {
            Some(kind) => {
                println!("{}: {kind}", target.name);
                Ok(ExitCode::FAILURE)
            }
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

fn counted(failures: usize) -> String {
    match failures {
        0 => "no failure".into(),
        1 => "1 failure".into(),
        more => format!("{more} failures"),
    }
}
