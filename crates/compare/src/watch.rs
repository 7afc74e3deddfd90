//! What a comparison tells those who watch it. Nothing here prints.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mtl_train::{Observer, Plan as Training, StepReport};

use super::{Arm, Experiment, Planned};

/// Told how a comparison proceeds.
pub trait Watch {
    /// The plan stands at `progress`; told after every step.
    fn progress(&mut self, _progress: &Progress) {}

    /// Something worth a line.
    fn note(&mut self, _line: &str) {}

    /// Whether to stop after the current step.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {}

/// How far a plan has got, stages to come included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The current run, counted from 1.
    pub run: usize,
    /// Runs in all.
    pub runs: usize,
    /// Arm and seed of the current run.
    pub name: String,
    /// Steps of training that are done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// The time that is left, by the steps of this process; none before the first one.
    pub left: Option<Duration>,
}

/// Counts runs and steps of a plan, those of stages to come included.
pub(super) struct TotalProgress<'a> {
    watch: &'a mut dyn Watch,
    runs: usize,
    done: usize,
    steps: usize,
    /// Steps of runs that are done.
    finished: usize,
    /// Steps of the current run.
    current: usize,
    /// Steps that were there when this process began.
    found: usize,
    name: String,
    started: Instant,
}

impl<'a> TotalProgress<'a> {
    pub(super) fn new(experiment: &Experiment, arms: &[Arm], watch: &'a mut dyn Watch) -> Self {
        let (mut runs, mut steps) = (0, 0);
        for arm in arms.iter().filter(|arm| arm.of.is_empty()) {
            if let Some(tune) = &experiment.table.tune {
                for (rung, combinations) in tune.sizes().into_iter().enumerate() {
                    runs += combinations * tune.seeds.len();
                    steps += combinations * tune.seeds.len() * tune.steps_of(rung, arm.steps);
                }
            }
            runs += experiment.seeds().len() * arm.restarts;
            steps += experiment.seeds().len() * arm.restarts * arm.steps;
        }
        let name = String::new();
        Self { watch, runs, done: 0, steps, finished: 0, current: 0, found: 0, name, started: Instant::now() }
    }

    /// Runs that nobody knew of before, such as those of a grid that grows.
    pub(super) fn more(&mut self, lines: &[Planned]) {
        self.runs += lines.len();
        self.steps += lines.iter().map(|line| line.steps).sum::<usize>();
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
        self.finished += line.steps;
        self.done += 1;
        self.current = 0;
        self.show();
    }

    /// Shows where the plan stands.
    pub(super) fn show(&mut self) {
        let step = (self.finished + self.current).min(self.steps);
        let own = step.saturating_sub(self.found);
        let left = (own > 0).then(|| self.started.elapsed().div_f64(own as f64).mul_f64((self.steps - step) as f64));
        let run = (self.done + 1).min(self.runs);
        let progress = Progress { run, runs: self.runs, name: self.name.clone(), step, steps: self.steps, left };
        self.watch.progress(&progress);
    }

    pub(super) fn say(&mut self, line: &str) {
        self.watch.note(line);
    }

    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    pub(super) fn done(&self) -> usize {
        self.done
    }

    pub(super) fn stopped(&self) -> bool {
        self.watch.interrupted()
    }
}

impl Observer for TotalProgress<'_> {
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
        let line = format!("{}: {line}", self.name);
        self.say(&line);
    }

    fn interrupted(&self) -> bool {
        self.stopped()
    }
}
