//! Progress over a whole plan: a bar on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mtl_train::{Observer, Plan as Training, StepReport};

use super::{Arm, Experiment, Planned};

/// Longest silence between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Counts runs and steps of a plan, those of stages to come included.
pub(super) struct Whole {
    bar: Option<ProgressBar>,
    runs: usize,
    done: usize,
    steps: usize,
    /// Steps of runs that are done.
    behind: usize,
    /// Steps of the current run.
    current: usize,
    /// Steps that were there when this process began.
    found: usize,
    name: String,
    started: Instant,
    said: Instant,
    interrupted: Arc<AtomicBool>,
}

impl Whole {
    pub(super) fn new(experiment: &Experiment, arms: &[Arm], interrupted: Arc<AtomicBool>) -> Self {
        let (mut runs, mut steps) = (0, 0);
        for arm in arms {
            if let Some(tune) = &experiment.table.tune {
                for (rung, combinations) in tune.sizes().into_iter().enumerate() {
                    runs += combinations * tune.seeds.len();
                    steps += combinations * tune.seeds.len() * tune.steps_of(rung, arm.steps);
                }
            }
            runs += experiment.seeds().len();
            steps += experiment.seeds().len() * arm.steps;
        }
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps as u64);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        let name = String::new();
        Self { bar, runs, done: 0, steps, behind: 0, current: 0, found: 0, name, started: now, said: now, interrupted }
    }

    /// A run that was done before.
    pub(super) fn skip(&mut self, line: &Planned) {
        self.found += line.steps;
        self.end(line);
    }

    /// A run begins.
    pub(super) fn start(&mut self, line: &Planned) {
        let purpose = match line.purpose {
            super::Purpose::Tune => "tuning ",
            super::Purpose::Final => "",
        };
        self.name = format!("{purpose}{} seed {}", line.arm, line.seed);
        self.current = 0;
    }

    /// A run is done, whichever way.
    pub(super) fn end(&mut self, line: &Planned) {
        self.behind += line.steps;
        self.done += 1;
        self.current = 0;
        self.show();
    }

    /// Shows where the plan stands.
    pub(super) fn show(&mut self) {
        let at = (self.behind + self.current).min(self.steps);
        let message =
            format!("run {}/{}, {}, eta {}", (self.done + 1).min(self.runs), self.runs, self.name, self.eta(at));
        if let Some(bar) = &self.bar {
            bar.set_position(at as u64);
            bar.set_message(message);
        } else if self.said.elapsed() >= PLAIN_EVERY {
            eprintln!("{message}");
            self.said = Instant::now();
        }
    }

    fn eta(&self, at: usize) -> String {
        let own = at.saturating_sub(self.found);
        if own == 0 {
            return "unknown".into();
        }
        let left = self.started.elapsed().as_secs_f64() / own as f64 * (self.steps - at) as f64;
        match left as u64 {
            seconds @ 0..120 => format!("{seconds} s"),
            seconds @ 120..7200 => format!("{} min", seconds / 60),
            seconds => format!("{:.1} h", seconds as f64 / 3600.),
        }
    }

    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    pub(super) fn done(&self) -> usize {
        self.done
    }

    pub(super) fn stopped(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl Observer for Whole {
    fn begin(&mut self, plan: &Training) {
        self.found += plan.from;
        self.current = plan.from;
    }

    fn step(&mut self, step: usize, _of: usize, _rate: f64, _report: &StepReport) {
        self.current = step;
        self.show();
    }

    fn evaluated(&mut self, _step: usize, _scores: &BTreeMap<String, f64>, _best: bool) {
        self.show();
    }

    fn note(&mut self, line: &str) {
        self.say(&format!("{}: {line}", self.name));
    }

    fn interrupted(&self) -> bool {
        self.stopped()
    }
}
