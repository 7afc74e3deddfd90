//! `flips`: one byte of one file of the newest checkpoint is another one than was saved. The run that goes on notices,
//! names the file, and goes on from the checkpoint before.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mtl_task::rng::Stream;

use super::case::SAVE_EVERY;
use super::harness::{GLANCE, Harness, Reference};
use super::tally::{Outcome, Point, Tally};
use super::trial::{LIMIT, Trial};

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    harness.prepare()?;
    let mut cases: Vec<(&Reference, PathBuf)> = Vec::new();
    for reference in harness.references() {
        let kept = harness.place(&format!("stopped-{}", reference.case.name));
        stopped(harness, reference, &kept).with_context(|| format!("a stopped run of {}", reference.case.name))?;
        cases.push((reference, kept));
    }
    let points = harness.each("flips", points, |number, stream, place| {
        let (reference, kept) = &cases[number % cases.len()];
        point(harness, number / cases.len(), (*reference, kept.as_path()), stream, place)
    })?;
    Ok(Outcome::Tried(Tally::new(&["undetected", "lost", "different", "left over", "recovered"], points)))
}

/// Keeps, as `kept`, the folder of a run that was stopped on its way with two checkpoints to go on from.
fn stopped(harness: &Harness, reference: &Reference, kept: &Path) -> Result<()> {
    let place = harness.place("stopping");
    // A signal that comes late finds the run at its end.
    for _ in 0..20 {
        let trial = Trial::new(harness, reference, &place)?;
        let (mut running, began) = (trial.start(&[])?, Instant::now());
        while trial.newest().is_none_or(|step| step < 2 * SAVE_EVERY) {
            if running.has_ended()? || began.elapsed() > LIMIT {
                break;
            }
            thread::sleep(GLANCE);
        }
        running.signal("TERM")?;
        let ended = running.wait()?;
        let checkpoints = trial.run_folder().join("checkpoints");
        let both = ["last", "last.previous"].iter().all(|name| checkpoints.join(name).join("manifest.json").exists());
        if ended.code != Some(0) && both && !trial.is_saving() {
            return trial.keep(kept);
        }
    }
    bail!("no run could be stopped between its second save and its end")
}

fn point(
    harness: &Harness,
    number: usize,
    (reference, kept): (&Reference, &Path),
    stream: &mut Stream,
    place: &Path,
) -> Result<Point> {
    let trial = Trial::new(harness, reference, place)?;
    trial.put_back(kept)?;
    let last = trial.run_folder().join("checkpoints/last");
    let entries = fs::read_dir(&last).with_context(|| format!("cannot read {}", last.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.sort();
    let file = &files[stream.below(files.len())];
    let mut bytes = fs::read(file)?;
    let (at, change) = (stream.below(bytes.len()), 1 + stream.below(255) as u8);
    bytes[at] ^= change;
    fs::write(file, &bytes)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let said = |(kind, what): (&'static str, String)| {
        (kind, format!("{}: byte {at} of {name} changed by {change:#04x}: {what}", reference.case.name))
    };
    let ended = trial.again(number)?;
    // Of a damaged list of files, the file that it names by mistake.
    let named = if name == "manifest.json" { "checkpoints/last/".into() } else { format!("checkpoints/last/{name}") };
    let detected = ended.said.lines().any(|line| line.contains(&named) && line.contains("last.previous"));
    let found = Point::default().judged((!detected).then(|| said(("undetected", ended.how()))));
    let found = found.judged(trial.judge(&ended)?.map(said));
    Ok(if found.is_good() { found.and("recovered") } else { found })
}
