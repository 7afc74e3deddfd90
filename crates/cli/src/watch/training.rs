//! Progress of a run.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;
use mtl_train::{Observer, Plan, StepReport};

use super::interruption::Interruption;
use super::{say, style};
use crate::output;

/// Longest silence between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Shows a run, and hears who stops it.
pub(crate) struct Training {
    bar: Option<ProgressBar>,
    tasks: Vec<String>,
    said: Option<Instant>,
    started: Instant,
    from: usize,
    interruption: Interruption,
}

impl Training {
    /// From now on, the first signal asks the run to stop after its step.
    pub(crate) fn new() -> Result<Self> {
        let interruption = Interruption::listen()?;
        Ok(Self { bar: None, tasks: Vec::new(), said: None, started: Instant::now(), from: 0, interruption })
    }

    /// From now on, the end of standard input asks that too.
    pub(crate) fn stop_at_eof(&self) {
        self.interruption.listen_for_eof();
    }

    pub(crate) fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Training {
    fn begin(&mut self, plan: &Plan) {
        plan.notes.iter().for_each(|note| output::note(note));
        (self.tasks, self.from, self.started) = (plan.tasks.clone(), plan.from, Instant::now());
        if std::io::stderr().is_terminal() {
            // The message ends where the terminal does.
            let layout = "{bar:30} {pos}/{len} {per_sec} eta {eta} {wide_msg}";
            let bar = ProgressBar::new(plan.steps as u64).with_style(style(layout));
            bar.set_position(plan.from as u64);
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, step: usize, of: usize, rate: f64, report: &StepReport) {
        let name = |task: &usize| self.tasks.get(*task).map_or("?", String::as_str);
        let losses: Vec<String> =
            report.tasks.iter().zip(&report.losses).map(|(task, loss)| format!("{} {loss:.3}", name(task))).collect();
        let line = format!("learning rate {rate:.1e}, losses {}", losses.join(", "));
        if let Some(bar) = &self.bar {
            bar.set_position(step as u64);
            bar.set_message(line);
        } else if step == of || self.said.is_none_or(|said| said.elapsed() >= PLAIN_EVERY) {
            let per_step = self.started.elapsed().as_secs_f64() / (step - self.from).max(1) as f64;
            let left = per_step * (of - step) as f64;
            output::note(&format!("step {step}/{of} {line}, {per_step:.2} s/step, eta {left:.0} s"));
            self.said = Some(Instant::now());
        }
    }

    fn evaluated(&mut self, step: usize, scores: &BTreeMap<String, f64>, best: bool) {
        let scores: Vec<String> = scores.iter().map(|(task, score)| format!("{task} {score:.3}")).collect();
        let best = if best { " (best so far)" } else { "" };
        say(self.bar.as_ref(), &format!("dev at step {step}: {}{best}", scores.join(", ")));
    }

    fn note(&mut self, line: &str) {
        say(self.bar.as_ref(), line);
    }

    fn interrupted(&self) -> bool {
        self.interruption.is_asked()
    }
}
