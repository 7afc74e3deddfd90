//! Progress of downloads.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use mtl_hub::{Transfer, Watch, readable};

use super::style;
use crate::output;

/// Longest silence between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Shows what is fetched.
pub(crate) struct Fetching {
    bars: bool,
}

impl Fetching {
    /// Bars if standard error is a terminal, lines otherwise.
    pub(crate) fn detect() -> Self {
        Self { bars: std::io::stderr().is_terminal() }
    }
}

impl Watch for Fetching {
    fn note(&self, line: &str) {
        output::note(line);
    }

    fn begin(&self, label: &str, size: Option<u64>) -> Box<dyn Transfer> {
        let bar = match size.filter(|_| self.bars) {
            Some(size) => {
                let layout = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
                Some(ProgressBar::new(size).with_style(style(layout).progress_chars("=> ")))
            }
            None => self.bars.then(|| ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {elapsed}"))),
        };
        if let Some(bar) = &bar {
            bar.set_prefix(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
        } else {
            let size = size.map(|size| format!(" ({})", readable(size))).unwrap_or_default();
            output::note(&format!("fetching {label}{size}"));
        }
        let now = Instant::now();
        Box::new(Bar { bar, label: label.to_owned(), size, began: now, spoke: now })
    }
}

/// Shows one transfer.
struct Bar {
    bar: Option<ProgressBar>,
    label: String,
    size: Option<u64>,
    began: Instant,
    spoke: Instant,
}

impl Transfer for Bar {
    fn at(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        } else if self.spoke.elapsed() > PLAIN_EVERY {
            self.spoke = Instant::now();
            let of = self.size.map(|size| format!(" of {}", readable(size))).unwrap_or_default();
            output::note(&format!("  {}: {}{of}", self.label, readable(bytes)));
        }
    }

    fn done(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        output::note(&format!("fetched {} in {:.1} s", self.label, self.began.elapsed().as_secs_f64()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
