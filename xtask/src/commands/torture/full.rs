//! `full`: the disk under the run folder is full before the run is at its end. The run says so; with room again it goes
//! on to the same bits.
//!
//! The disk is a small one in memory, mounted in a namespace of the run's own. Where that is not allowed, the longest
//! file that a process may write is bounded instead.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use mtl_task::rng::Stream;

use super::harness::Harness;
use super::tally::{Outcome, Point, Tally};
use super::trial::Trial;

/// Runs its arguments with a disk of `$0` KiB under `run`, and brings what that holds at the end to `kept`.
const SMALL_DISK: &str = "mkdir -p run && mount -t tmpfs -o size=\"$0\"k tmpfs run || exit 99\n\
                          \"$@\"; code=$?; cp -a run kept || exit 99; exit $code";
/// Runs its arguments with no file longer than `$0` blocks of 512 bytes.
const SHORT_FILES: &str = "trap '' XFSZ; ulimit -f \"$0\" || exit 99; exec \"$@\"";

/// How disks are made full here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// By a mount in a namespace that these words make.
    Mount(&'static [&'static str]),
    /// By a bound on files.
    Bound,
}

impl Means {
    fn here() -> Option<Self> {
        let works = |words: &[&str]| {
            let ended = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            ended.is_ok_and(|status| status.success())
        };
        let namespaces: [&'static [&'static str]; 2] =
            [&["unshare", "--mount"], &["unshare", "--map-root-user", "--mount"]];
        for namespace in namespaces {
            if works(&[namespace, &["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/tmp"]].concat()) {
                return Some(Self::Mount(namespace));
            }
        }
        works(&["sh", "-c", SHORT_FILES, "8", "true"]).then_some(Self::Bound)
    }

    /// The words that run a command with room for `bytes`.
    fn words(self, bytes: u64) -> Vec<String> {
        let (before, script, room): (&[&str], _, _) = match self {
            Self::Mount(namespace) => (namespace, SMALL_DISK, bytes.div_ceil(1024).next_multiple_of(4)),
            Self::Bound => (&[], SHORT_FILES, bytes.div_ceil(512)),
        };
        let script = ["sh", "-c", script].into_iter().map(String::from);
        before.iter().map(|word| (*word).to_string()).chain(script).chain([room.to_string()]).collect()
    }
}

pub(super) fn run(harness: &Harness, points: usize) -> Result<Outcome> {
    let Some(means) = Means::here() else {
        return Ok(Outcome::Skipped("neither may a disk be mounted here nor can files be bounded".into()));
    };
    harness.prepare()?;
    let points = harness.each("full", points, |number, stream, place| point(harness, means, number, stream, place))?;
    let names = ["lost", "different", "left over", "unclear", "full", "fitted"];
    Ok(Outcome::Tried(Tally::new(&names, points)))
}

fn point(harness: &Harness, means: Means, number: usize, stream: &mut Stream, place: &Path) -> Result<Point> {
    let reference = harness.reference(number)?;
    let trial = Trial::new(harness, reference, place)?;
    // On the way the run holds up to a checkpoint more than at its end.
    let bytes = match means {
        Means::Mount(_) => 8 * 4096 + stream.below(reference.bytes as usize),
        Means::Bound => 512 + stream.below(reference.longest as usize),
    } as u64;
    let ended = trial.start_by(&means.words(bytes), &[])?.wait()?;
    let kept = trial.folder().join("kept");
    if kept.exists() {
        let run = trial.run_folder();
        fs::remove_dir_all(&run)?;
        fs::rename(&kept, &run).with_context(|| format!("cannot name {}", run.display()))?;
    }
    let told = match means {
        Means::Mount(_) => "No space left on device",
        Means::Bound => "File too large",
    };
    let said = |(name, what): (&'static str, String)| (name, format!("{bytes} bytes: {what}"));
    if ended.code == Some(0) {
        return Ok(Point::of("fitted").judged(trial.judge(&ended)?.map(said)));
    }
    let clear = ended.code == Some(1) && ended.last_line().contains(told) && ended.last_line().contains("run/");
    let found = Point::of("full").judged((!clear).then(|| said(("unclear", ended.how()))));
    let found = found.judged(trial.stands(None).map(said));
    Ok(found.judged(trial.judge(&trial.again(number / 4)?)?.map(said)))
}
