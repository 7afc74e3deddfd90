//! `bench memory`: whether a long training holds more and more memory.
//!
//! The embedded recipe on three of its tasks, one training a strategy, each in a process of its own on one thread; the
//! most resident memory in the 250 steps up to step 500 and up to step 5,500, evaluations and checkpoints included.

use std::collections::VecDeque;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mtl_backbone::DeviceName;
use mtl_cli::Context;
use mtl_cli::device::set_threads;
use mtl_cli::locate::{Files, recipe};
use mtl_train::memory::resident;
use mtl_train::{Ended, Located, Observer, Run, RunOptions, StepReport};
use serde::{Deserialize, Serialize};

/// What strategies need in order to fit the embedded encoder of two layers.
const FITTING: &[(&str, &str)] = &[("single-small", "sharing.tolerance=1")];

/// Steps over which the most is taken. Freed pages go back to the system at moments of the allocator's choice, mostly
/// after a checkpoint: between two of them the same training is seen with and without these.
const WINDOW: usize = 250;

/// Measure the growth of memory in long trainings of every strategy.
#[derive(Debug, Args)]
pub(super) struct BenchMemory {
    /// The strategies, separated by commas; every one if left out
    #[arg(long, value_delimiter = ',')]
    strategies: Vec<String>,
    /// Steps after which memory is looked at first
    #[arg(long, default_value_t = 500)]
    from: usize,
    /// Steps after which it is looked at again, or at the end of a training that is over before
    #[arg(long, default_value_t = 5500)]
    to: usize,
    /// Change a key of the recipe, as section.key=value; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Measure one strategy in this process, and print JSON
    #[arg(long, hide = true)]
    one: Option<String>,
}

/// Resident bytes of one training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Growth {
    rule: String,
    first: u64,
    last: u64,
    peak: u64,
}

impl BenchMemory {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        if self.from == 0 || self.from + WINDOW > self.to {
            bail!("--from {} and --to {}: at least 1, and {WINDOW} steps apart", self.from, self.to);
        }
        if let Some(strategy) = &self.one {
            println!("{}", serde_json::to_string(&self.measured(strategy, context)?)?);
            return Ok(ExitCode::SUCCESS);
        }
        let all = || context.registries.strategies.iter().map(|strategy| strategy.name.to_string()).collect();
        let strategies: Vec<String> = if self.strategies.is_empty() { all() } else { self.strategies.clone() };
        println!("| strategy | rule | step {}, MB | step {}, MB | growth | peak, MB |", self.from, self.to);
        println!("| --- | --- | --: | --: | --: | --: |");
        for strategy in strategies {
            let growth = self.apart(&strategy)?;
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            println!(
                "| {strategy} | {} | {:.1} | {:.1} | {:+.2} % | {:.1} |",
                growth.rule,
                megabytes(growth.first),
                megabytes(growth.last),
                100. * (growth.last as f64 / growth.first.max(1) as f64 - 1.),
                megabytes(growth.peak)
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Measures `strategy` in a process of its own, whose memory nobody used before.
    fn apart(&self, strategy: &str) -> Result<Growth> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "memory", "--one", strategy]);
        command.args(["--from", &self.from.to_string(), "--to", &self.to.to_string()]);
        self.set.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        let output = command.output().context("cannot start the measurement")?;
        if !output.status.success() {
            bail!("strategy `{strategy}`: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).with_context(|| format!("strategy `{strategy}`: no figures"))
    }

    fn measured(&self, strategy: &str, context: &Context) -> Result<Growth> {
        let registries = &context.registries;
        let entry = registries.strategies.find(strategy)?;
        let shares = (entry.shares_with)(&(entry.defaults)())?;
        let rule = if shares { "nash" } else { "equal" };
        let mut set: Vec<String> = [
            "tasks=[\"planted-topic\", \"planted-mood\", \"planted-tags\"]".to_string(),
            format!("sharing.strategy={strategy}"),
            format!("weighting.rule={rule}"),
            format!("train.steps={}", self.to + 1),
            "train.batch=2".to_string(),
            "train.limit=200".to_string(),
            "train.threads=1".to_string(),
            "evaluation.every=250".to_string(),
            "evaluation.limit=24".to_string(),
        ]
        .to_vec();
        let fitting = FITTING.iter().filter(|(name, _)| *name == strategy);
        set.extend(fitting.map(|(_, set)| (*set).to_string()));
        set.extend(self.set.iter().cloned());
        let given = recipe(registries, "embedded", &set)?;
        let files = Files::new(registries, true)?;
        let located = Located {
            datasets: given.recipe.tasks.iter().map(|task| files.dataset(task)).collect::<Result<_>>()?,
            model: files.model(&given.recipe.checkpoint)?,
        };
        set_threads(given.recipe.train.threads)?;
        let out = std::env::temp_dir().join(format!("mtl-bench-memory-{}", std::process::id()));
        let options = RunOptions {
            out: out.clone(),
            start: mtl_train::Start::New,
            recipe_name: given.name,
            fallback: false,
            commit: None,
            device_name: DeviceName::Cpu.to_string(),
        };
        let mut watch = Watch {
            from: self.from,
            to: self.to,
            growth: Growth { rule: rule.into(), ..Growth::default() },
            seen: VecDeque::new(),
        };
        let ended =
            Run::new(given.recipe, &located, options, &DeviceName::Cpu.open()?).and_then(|run| run.execute(&mut watch));
        std::fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
        let Ended::Finished(_) = ended? else { bail!("the training was interrupted") };
        watch.growth.last = watch.seen.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        match watch.growth {
            Growth { first: 0, .. } | Growth { last: 0, .. } => bail!("this system does not tell a process's memory"),
            growth => Ok(growth),
        }
    }
}

struct Watch {
    from: usize,
    to: usize,
    growth: Growth,
    /// The last steps, and what was resident in each: a strategy that spends steps on what it drops ends before `to`.
    seen: VecDeque<(usize, u64)>,
}

impl Observer for Watch {
    fn step(&mut self, step: usize, _: usize, _: f64, _: &StepReport) {
        if step > self.to {
            return;
        }
        let Some((now, peak)) = resident() else { return };
        if step <= self.from && step + WINDOW > self.from {
            self.growth.first = now.max(self.growth.first);
        }
        self.seen.push_back((step, now));
        while self.seen.front().is_some_and(|(first, _)| first + WINDOW <= step) {
            self.seen.pop_front();
        }
        self.growth.peak = peak;
    }
}
