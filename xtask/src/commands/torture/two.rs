//! `two`: two processes want one run folder. One gets it; the other says who has it, and touches nothing.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use mtl_task::rng::Stream;

use super::harness::{GLANCE, Harness};
use super::tally::{Outcome, Point, Tally};
use super::trial::{Ended, LIMIT, Trial};

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    harness.prepare()?;
    let points = harness.each("two", points, |number, stream, place| point(harness, number, stream, place))?;
    let names = ["lost", "different", "left over", "both", "neither", "unclear", "refused"];
    Ok(Outcome::Tried(Tally::new(&names, points)))
}

/// The second one comes at a random moment, or, every second time, at once.
fn point(harness: &Harness, number: usize, stream: &mut Stream, place: &Path) -> Result<Point> {
    let reference = harness.reference(number)?;
    let trial = Trial::new(harness, reference, place)?;
    let (mut first, began) = (trial.start(&[])?, Instant::now());
    let id = first.id();
    if number % 2 == 1 {
        while !trial.is_locked() && !first.has_ended()? && began.elapsed() < LIMIT {
            thread::sleep(GLANCE);
        }
        thread::sleep(Duration::from_secs_f64(stream.uniform() * 0.5 * (reference.seconds - reference.locked)));
    }
    let more: &[&str] = if number % 4 < 2 { &[] } else { &["--resume"] };
    let second = trial.start_as(&[], more, "said-by-the-second")?;
    let other = second.id();
    let (first, second) = (first.wait()?, second.wait()?);
    let refused = |ended: &Ended, holder: u32| {
        let names = [&format!("process {holder} is training in it"), "--out"];
        ended.code == Some(1) && names.iter().all(|part| ended.last_line().contains(*part))
    };
    let both = || format!("the first: {}; the second: {}", first.how(), second.how());
    // The one that got the folder decides.
    let (winner, found) = match (first.code, second.code) {
        (Some(0), Some(1)) if refused(&second, id) => (&first, Point::of("refused")),
        (Some(1), Some(0)) if refused(&first, other) => (&second, Point::of("refused")),
        // There is nothing to resume from before the first one has it.
        (Some(0), Some(1)) if second.said.contains("no checkpoint to resume from") => (&first, Point::of("refused")),
        // One came after the other had ended.
        (Some(0), Some(0)) => (&first, Point::of("after the end")),
        (Some(0), _) => (&first, Point::default().judged(Some(("unclear", both())))),
        (_, Some(0)) => (&second, Point::default().judged(Some(("unclear", both())))),
        _ => (&first, Point::default().judged(Some(("neither", both())))),
    };
    Ok(found.judged(trial.judge(winner)?))
}
