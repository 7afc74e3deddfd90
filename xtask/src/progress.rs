//! Progress of a run: a bar on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use mtl_train::{Observer, Plan, StepReport};

/// Longest silence between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Shows a run on standard error, and hears Ctrl-C.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    tasks: Vec<String>,
    said: Option<Instant>,
    started: Instant,
    from: usize,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    /// The first Ctrl-C or SIGTERM asks the run to stop behind its step; the second one ends the process.
    pub(crate) fn new() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone())?;
            signal_hook::flag::register(signal, interrupted.clone())?;
        }
        Ok(Self { bar: None, tasks: Vec::new(), said: None, started: Instant::now(), from: 0, interrupted })
    }

    pub(crate) fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

impl Observer for Progress {
    fn begin(&mut self, plan: &Plan) {
        plan.notes.iter().for_each(|note| eprintln!("{note}"));
        (self.tasks, self.from, self.started) = (plan.tasks.clone(), plan.from, Instant::now());
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(plan.steps as u64);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} eta {eta} {msg}") {
                bar.set_style(style);
            }
            bar.set_position(plan.from as u64);
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, step: usize, of: usize, rate: f64, report: &StepReport) {
        let name = |task: &usize| self.tasks.get(*task).map_or("?", String::as_str);
        let losses: Vec<String> =
            report.tasks.iter().zip(&report.losses).map(|(task, loss)| format!("{} {loss:.3}", name(task))).collect();
        let line = format!("rate {rate:.1e} losses {}", losses.join(", "));
        if let Some(bar) = &self.bar {
            bar.set_position(step as u64);
            bar.set_message(line);
        } else if step == of || self.said.is_none_or(|said| said.elapsed() >= PLAIN_EVERY) {
            let per_step = self.started.elapsed().as_secs_f64() / (step - self.from).max(1) as f64;
            eprintln!("step {step}/{of} {line}, {per_step:.2} s/step, eta {:.0} s", per_step * (of - step) as f64);
            self.said = Some(Instant::now());
        }
    }

    fn evaluated(&mut self, step: usize, scores: &BTreeMap<String, f64>, best: bool) {
        let scores: Vec<String> = scores.iter().map(|(task, score)| format!("{task} {score:.3}")).collect();
        self.say(&format!("dev at step {step}: {}{}", scores.join(", "), if best { " (best so far)" } else { "" }));
    }

    fn note(&mut self, line: &str) {
        self.say(line);
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
