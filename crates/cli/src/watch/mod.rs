//! What people see while something takes a while: bars on a terminal, plain lines elsewhere, on standard error.

mod comparing;
mod fetching;
mod training;

pub(crate) use comparing::Comparing;
pub(crate) use fetching::Fetching;
pub(crate) use training::Training;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Set by the first Ctrl-C or SIGTERM, which asks to stop after the current step; the second one ends the process.
pub(crate) fn interruption() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone())?;
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

fn style(layout: &str) -> ProgressStyle {
    ProgressStyle::with_template(layout).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Writes a line above `bar`, if there is one.
fn say(bar: Option<&ProgressBar>, line: &str) {
    match bar {
        Some(bar) => bar.println(line),
        None => output::note(line),
    }
}
