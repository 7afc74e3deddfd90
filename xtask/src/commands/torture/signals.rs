//! `signals`: a polite request to stop, at a random moment. The run saves, says so by its exit code, and the same
//! command goes on from the step where it stopped.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use mtl_task::rng::Stream;

use super::harness::{GLANCE, Harness};
use super::tally::{Outcome, Point, Tally};
use super::trial::{LIMIT, Trial};

/// Of a user, of a scheduler, and of a terminal that is closed.
const SIGNALS: [&str; 5] = ["INT", "TERM", "USR1", "HUP", "QUIT"];
/// What an interrupted run exits with: try again.
const RESUMABLE: i32 = 75;
/// A run of this size has stopped after so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Draws that a point has to meet a run at work.
const DRAWS: usize = 12;

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    harness.prepare()?;
    let points = harness.each("signals", points, |number, stream, place| point(harness, number, stream, place))?;
    let names = ["lost", "different", "left over", "unsaved", "slow", "missed"];
    Ok(Outcome::Tried(Tally::new(&names, points)))
}

fn point(harness: &Harness, number: usize, stream: &mut Stream, place: &Path) -> Result<Point> {
    let (reference, signal) = (harness.reference(number)?, SIGNALS[number % SIGNALS.len()]);
    for _ in 0..DRAWS {
        let trial = Trial::new(harness, reference, place)?;
        let (mut running, began) = (trial.start(&[])?, Instant::now());
        while !trial.is_locked() && !running.has_ended()? && began.elapsed() < LIMIT {
            thread::sleep(GLANCE);
        }
        thread::sleep(Duration::from_secs_f64(stream.uniform() * (reference.seconds - reference.locked)));
        if running.has_ended()? || !running.signal(signal)? {
            continue;
        }
        let sent = Instant::now();
        let ended = running.wait()?;
        let took = sent.elapsed();
        if ended.code == Some(0) {
            // It was past its last step.
            continue;
        }
        let said = |(name, what): (&'static str, String)| (name, format!("SIG{signal}: {what}"));
        let saved = trial.newest();
        let told = saved.is_some_and(|step| ended.said.contains(&format!("after step {step}")));
        let wrong = match ended.code {
            Some(RESUMABLE) if !told => Some(("unsaved", format!("{}; {saved:?} is what stands", ended.how()))),
            Some(RESUMABLE) if took > PATIENCE => Some(("slow", format!("it took {:.0} s", took.as_secs_f64()))),
            Some(RESUMABLE) => None,
            _ => Some(("unsaved", ended.how())),
        };
        let found = Point::of(signal).judged(wrong.map(said));
        // The same command, by itself.
        return Ok(found.judged(trial.judge(&trial.run(&[])?)?.map(said)));
    }
    Ok(Point::of("missed"))
}
