//! Progress of a comparison.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::ProgressBar;
use mtl_compare::{Progress, Watch};

use super::interruption::Interruption;
use super::{say, style};
use crate::output;

/// Longest silence between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Shows a comparison, and hears who stops it.
pub(crate) struct Comparing {
    bar: Option<ProgressBar>,
    said: Instant,
    interruption: Interruption,
}

impl Comparing {
    /// From now on, the first signal asks the comparison to stop after its step.
    pub(crate) fn new() -> Result<Self> {
        let terminal = std::io::stderr().is_terminal();
        let bar = terminal.then(|| ProgressBar::new(0).with_style(style("{bar:30} {percent}% {elapsed} {wide_msg}")));
        Ok(Self { bar, said: Instant::now(), interruption: Interruption::listen()? })
    }

    pub(crate) fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Comparing {
    fn progress(&mut self, progress: &Progress) {
        let Progress { run, runs, name, step, steps, left } = progress;
        let message = format!("run {run}/{runs}, {name}, eta {}", left.map_or("unknown".into(), readable));
        if let Some(bar) = &self.bar {
            bar.set_length(*steps as u64);
            bar.set_position(*step as u64);
            bar.set_message(message);
        } else if self.said.elapsed() >= PLAIN_EVERY {
            output::note(&message);
            self.said = Instant::now();
        }
    }

    fn note(&mut self, line: &str) {
        say(self.bar.as_ref(), line);
    }

    fn interrupted(&self) -> bool {
        self.interruption.is_asked()
    }
}

fn readable(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.),
    }
}
