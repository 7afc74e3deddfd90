//! What people see while files arrive: bars on a terminal, plain lines elsewhere, on the standard error stream.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Moving bars.
    Bars,
    /// A line at the start and the end of a file, and one now and then between.
    Lines,
    /// Nothing at all.
    Nothing,
}

impl Show {
    /// Bars if the standard error stream is a terminal, lines otherwise.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }

    /// One line of news.
    pub(crate) fn note(self, line: &str) {
        if self != Self::Nothing {
            eprintln!("{line}");
        }
    }

    /// Follows something that takes a while; `size` in bytes, where it is known.
    pub(crate) fn follow(self, label: &str, size: Option<u64>) -> Bar {
        let bar = match (self, size) {
            (Self::Bars, Some(size)) => {
                let layout = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
                Some(ProgressBar::new(size).with_style(style(layout).progress_chars("=> ")))
            }
            (Self::Bars, None) => Some(ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {elapsed}"))),
            _ => None,
        };
        if let Some(bar) = &bar {
            bar.set_prefix(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
        } else {
            let size = size.map(|size| format!(" ({})", readable(size))).unwrap_or_default();
            self.note(&format!("fetching {label}{size}"));
        }
        let now = Instant::now();
        Bar { show: self, bar, label: label.to_owned(), size, began: now, spoke: now }
    }
}

/// Follows one file, or one run of a package client.
pub(crate) struct Bar {
    show: Show,
    bar: Option<ProgressBar>,
    label: String,
    size: Option<u64>,
    began: Instant,
    spoke: Instant,
}

impl Bar {
    /// So many bytes are here.
    pub(crate) fn at(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        } else if self.spoke.elapsed() > Duration::from_secs(10) {
            self.spoke = Instant::now();
            let of = self.size.map(|size| format!(" of {}", readable(size))).unwrap_or_default();
            self.show.note(&format!("  {}: {}{of}", self.label, readable(bytes)));
        }
    }

    /// All is here.
    pub(crate) fn done(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.show.note(&format!("fetched {} in {:.1} s", self.label, self.began.elapsed().as_secs_f64()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `bytes` with a unit that suits people.
pub(crate) fn readable(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn style(layout: &str) -> ProgressStyle {
    ProgressStyle::with_template(layout).unwrap_or_else(|_| ProgressStyle::default_bar())
}
