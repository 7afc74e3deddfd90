//! `errors`: a call of a save that the disk fails, by each of three errors. The run says what happened and where, or
//! shrugs it off; in either case it goes on to the same bits.

use std::path::Path;

use anyhow::{Context, Result};

use super::calls::of_a_save;
use super::harness::{Harness, Reference};
use super::tally::{Outcome, Point, Tally};
use super::traced::{self, Call};
use super::trial::Trial;

/// Errors, and the system's words for them.
const ERRORS: [(&str, &str); 3] =
    [("EIO", "Input/output error"), ("ENOSPC", "No space left on device"), ("EACCES", "Permission denied")];

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    if let Some(reason) = traced::missing() {
        return Ok(Outcome::Skipped(reason));
    }
    harness.prepare()?;
    let calls = of_a_save(harness, points.div_ceil(ERRORS.len()))?;
    let points = harness.each("errors", calls.len() * ERRORS.len(), |number, _, place| {
        let (reference, call) = calls.get(number / ERRORS.len()).context("there is no such point")?;
        point(harness, number, reference, call, place)
    })?;
    let names = ["lost", "different", "left over", "unclear", "failed", "unharmed"];
    Ok(Outcome::Tried(Tally::new(&names, points)))
}

fn point(harness: &Harness, number: usize, reference: &Reference, call: &Call, place: &Path) -> Result<Point> {
    let error = ERRORS[number % ERRORS.len()];
    let trial = Trial::new(harness, reference, place)?;
    let ended = traced::failed(&trial, call, error.0)?;
    let said = |(name, what): (&'static str, String)| (name, format!("{} at {call}: {what}", error.0));
    let found = match ended.code {
        Some(0) => Point::of("unharmed"),
        // The error, and the file that it was of.
        Some(1) if ended.last_line().contains(error.1) && ended.last_line().contains("run/") => Point::of("failed"),
        _ => Point::of("failed").judged(Some(said(("unclear", ended.how())))),
    };
    if ended.code == Some(0) {
        return Ok(found.judged(trial.judge(&ended)?.map(said)));
    }
    let found = found.judged(trial.stands(None).map(said));
    Ok(found.judged(trial.judge(&trial.again(number / ERRORS.len())?)?.map(said)))
}
