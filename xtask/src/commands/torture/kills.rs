//! `kills`: SIGKILL at random moments of a run, every second time inside a save, every fourth time twice in a row. On the
//! disk, for there a save takes its time.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use mtl_task::rng::Stream;

use super::harness::Harness;
use super::tally::{Outcome, Point, Tally};
use super::trial::{LIMIT, Trial};

/// Draws that a point has to hit what it aims at: how long a run takes is not the same each time.
const DRAWS: usize = 100;

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    let harness = &harness.on_disk()?;
    harness.prepare()?;
    let points = harness.each("kills", points, |number, stream, place| point(harness, number, stream, place))?;
    let names = ["lost", "different", "left over", "inside a save", "twice", "missed"];
    Ok(Outcome::Tried(Tally::new(&names, points)))
}

fn point(harness: &Harness, number: usize, stream: &mut Stream, place: &Path) -> Result<Point> {
    let reference = harness.reference(number)?;
    let (inside, twice) = (number % 2 == 1, [2, 7].contains(&(number % 8)));
    for _ in 0..DRAWS {
        let trial = Trial::new(harness, reference, place)?;
        let (mut hit, mut saves) = (true, reference.saves);
        for _ in 0..if twice { 2 } else { 1 } {
            let before = trial.newest();
            hit = hit && killed(&trial, number / 2, inside.then_some(&mut saves), stream)?;
            let wrong = trial.stands(before);
            if wrong.is_some() {
                return Ok(Point::default().judged(wrong));
            }
        }
        if hit {
            let mut found = Point::default();
            found = if inside { found.and("inside a save") } else { found };
            found = if twice { found.and("twice") } else { found };
            return Ok(found.judged(trial.judge(&trial.again(number / 2)?)?));
        }
    }
    Ok(Point::of("missed"))
}

/// Starts the run, or goes on with it, and kills it: at any moment, or inside one of the `saves` that lie ahead, of which
/// those from there on are left. Answers whether that was where it was to be.
fn killed(trial: &Trial, way: usize, saves: Option<&mut usize>, stream: &mut Stream) -> Result<bool> {
    let reference = trial.reference();
    let mut running = trial.start(trial.more(way))?;
    let Some(saves) = saves else {
        thread::sleep(Duration::from_secs_f64(stream.uniform() * reference.seconds));
        return running.kill();
    };
    let (save, moment) = (stream.below(*saves), stream.uniform() * reference.save_seconds);
    let (began, mut seen, mut saving) = (Instant::now(), 0, trial.is_saving());
    loop {
        if running.has_ended()? || began.elapsed() > LIMIT {
            running.kill()?;
            return Ok(false);
        }
        match (trial.is_saving(), saving) {
            (true, false) if seen == save => break,
            (true, false) => (seen, saving) = (seen + 1, true),
            (now, _) => saving = now,
        }
        // A save may take a millisecond: no nap here.
        thread::yield_now();
    }
    *saves -= save;
    thread::sleep(Duration::from_secs_f64(moment));
    Ok(running.kill()? && trial.is_saving())
}
