//! `calls`: SIGKILL at a system call of a save, then at one of the run that goes on from there.
//!
//! The first kill meets a run at a call in its run folder from its second save to its third; there, every call is a
//! point. The second one meets the run that goes on, from its start to the end of its first save.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mtl_task::rng::Stream;

use super::harness::{Harness, Reference};
use super::tally::{Outcome, Point, Tally};
use super::traced::{self, Call};
use super::trial::Trial;

/// Second kills for every first one.
const SECONDS: usize = 2;

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    if let Some(reason) = traced::missing() {
        return Ok(Outcome::Skipped(reason));
    }
    harness.prepare()?;
    let calls = of_a_save(harness, points)?;
    let points = harness.each("calls", calls.len(), |number, stream, place| {
        let (reference, call) = calls.get(number).context("there is no such point")?;
        point(harness, number, (*reference, call), stream, place)
    })?;
    Ok(Outcome::Tried(Tally::new(&["lost", "different", "left over", "twice", "missed"], points)))
}

/// The calls of a save of each case, `most` of all of them, evenly spread.
pub(super) fn of_a_save(harness: &Harness, most: usize) -> Result<Vec<(&Reference, Call)>> {
    let mut calls = Vec::new();
    for reference in harness.references() {
        let trial = Trial::new(harness, reference, &harness.place("log"))?;
        let (lines, ended) = traced::logged(&trial, &[])?;
        ensure!(ended.code == Some(0), "the traced run failed: {}", ended.how());
        let of_a_save = lines.into_iter().filter(|line| line.saves == 2);
        calls.extend(of_a_save.map(|line| (reference, line.call)));
    }
    ensure!(!calls.is_empty(), "no call of a save was found in strace's log");
    let most = most.min(calls.len());
    Ok((0..most).map(|index| calls[index * calls.len() / most].clone()).collect())
}

fn point(
    harness: &Harness,
    number: usize,
    (reference, call): (&Reference, &Call),
    stream: &mut Stream,
    place: &Path,
) -> Result<Point> {
    let trial = Trial::new(harness, reference, place)?;
    if !traced::killed(&trial, call, &[])? {
        return Ok(Point::of("missed"));
    }
    let before = trial.newest();
    let said = |wrong: Option<(&'static str, String)>, then: Option<&Call>| {
        let then = then.map(|then| format!(", then at {then}")).unwrap_or_default();
        wrong.map(|(name, what)| (name, format!("killed at {call}{then}: {what}")))
    };
    let wrong = trial.stands(None);
    if wrong.is_some() {
        return Ok(Point::default().judged(said(wrong, None)));
    }
    let kept = place.with_extension("kept");
    trial.keep(&kept)?;
    let (lines, ended) = traced::logged(&trial, trial.more(number))?;
    let mut found = Point::default().judged(said(trial.judge(&ended)?, None));
    let next: Vec<&Call> = lines.iter().filter(|line| line.saves < 2).map(|line| &line.call).collect();
    for _ in 0..SECONDS {
        if next.is_empty() || !found.is_good() {
            break;
        }
        let then = next[stream.below(next.len())];
        trial.put_back(&kept)?;
        if !traced::killed(&trial, then, trial.more(number))? {
            found = found.and("missed");
            continue;
        }
        found = found.and("twice").judged(said(trial.stands(before), Some(then)));
        if found.is_good() {
            found = found.judged(said(trial.judge(&trial.again(number)?)?, Some(then)));
        }
    }
    std::fs::remove_dir_all(&kept)?;
    Ok(found)
}
