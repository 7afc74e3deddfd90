//! What people see while something takes a while: bars on a terminal, plain lines elsewhere, on standard error; and how
//! they stop it.

mod comparing;
mod fetching;
mod interruption;
mod training;

pub(crate) use comparing::Comparing;
pub(crate) use fetching::Fetching;
pub(crate) use training::Training;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

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
