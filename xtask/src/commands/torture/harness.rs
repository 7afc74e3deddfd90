//! What all sections share: the program, the seed, a folder to work in, and what unharmed runs end with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use mtl_task::rng::{Key, Stream};

use super::bits::Bits;
use super::case::{CASES, Case};
use super::tally::Point;
use super::trial::{LIMIT, Trial};

/// How often a run is looked at while something is waited for.
pub(super) const GLANCE: Duration = Duration::from_micros(100);

/// What all sections share.
pub(super) struct Harness {
    binary: PathBuf,
    /// Where to work, if somebody said so.
    folder: Option<PathBuf>,
    key: Key,
    /// The one point to do, if it is one.
    only: Option<usize>,
    jobs: usize,
    work: tempfile::TempDir,
    references: Vec<OnceLock<Reference>>,
}

/// What a run of a case is if nobody harms it.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) case: &'static Case,
    pub(super) bits: Bits,
    /// From its start to its end, and to when it holds its folder's lock.
    pub(super) seconds: f64,
    pub(super) locked: f64,
    /// Saves that were seen, and their mean seconds.
    pub(super) saves: usize,
    pub(super) save_seconds: f64,
    /// Bytes of its folder in pages of 4,096, and of its longest file.
    pub(super) bytes: u64,
    pub(super) longest: u64,
}

impl Harness {
    /// Works in `folder`; of itself in memory, because a killed process leaves there what it leaves on a disk, and waits
    /// for nothing.
    pub(super) fn new(
        binary: PathBuf,
        folder: Option<&Path>,
        seed: u64,
        only: Option<usize>,
        jobs: usize,
    ) -> Result<Self> {
        let memory = Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir());
        let work = match folder.or(memory) {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        };
        let work = work.context("no folder to work in")?;
        let references = CASES.iter().map(|_| OnceLock::new()).collect();
        let (folder, key) = (folder.map(Path::to_path_buf), Key::new(seed).named("torture"));
        Ok(Self { binary, folder, key, only, jobs, work, references })
    }

    /// One that works on the disk, where a save takes long enough to be met.
    pub(super) fn on_disk(&self) -> Result<Self> {
        let work = match &self.folder {
            Some(folder) => tempfile::tempdir_in(folder),
            None => tempfile::tempdir(),
        };
        Ok(Self {
            binary: self.binary.clone(),
            folder: self.folder.clone(),
            key: self.key,
            only: self.only,
            jobs: self.jobs,
            work: work.context("no folder to work in")?,
            references: CASES.iter().map(|_| OnceLock::new()).collect(),
        })
    }

    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The case whose turn it is at point `number`: all of them, one after the other, and in other turns each time, so
    /// that what else is done in turns meets all of them.
    pub(super) fn reference(&self, number: usize) -> Result<&Reference> {
        let index = (number + number / 8) % CASES.len();
        self.references[index].get().context("the reference runs come first")
    }

    /// What is known of the cases, the first of them first.
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter().filter_map(OnceLock::get)
    }

    /// A folder called `name` to work in.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Runs every case that is not yet known, twice: what differs between two runs that nobody harms is not worth
    /// comparing.
    pub(super) fn prepare(&self) -> Result<()> {
        for (case, known) in CASES.iter().zip(&self.references) {
            if known.get().is_none() {
                let found = self.measure(case).with_context(|| format!("the unharmed run of {}", case.name))?;
                let _ = known.set(found);
            }
        }
        Ok(())
    }

    fn measure(&self, case: &'static Case) -> Result<Reference> {
        let unknown = Reference {
            case,
            bits: Bits::default(),
            seconds: 0.,
            locked: 0.,
            saves: 0,
            save_seconds: 0.,
            bytes: 0,
            longest: 0,
        };
        let trial = Trial::new(self, &unknown, &self.place("first"))?;
        let (began, mut running) = (Instant::now(), trial.start(&[])?);
        let (mut locked, mut saves) = (None, Vec::new());
        let mut saving: Option<f64> = None;
        while !running.has_ended()? {
            let now = began.elapsed().as_secs_f64();
            if locked.is_none() && trial.is_locked() {
                locked = Some(now);
            }
            match (trial.is_saving(), saving) {
                (true, None) => saving = Some(now),
                (false, Some(since)) => {
                    saves.push(now - since);
                    saving = None;
                }
                _ => {}
            }
            ensure!(began.elapsed() < LIMIT, "it does not end");
            thread::sleep(GLANCE);
        }
        let ended = running.wait()?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(ended.code == Some(0), "it failed: {}", ended.said);
        let bits = Bits::of(&trial.run_folder())?;
        let other = Trial::new(self, &unknown, &self.place("second"))?;
        ensure!(other.run(&[])?.code == Some(0), "it failed the second time");
        let differing = bits.differing(&Bits::of(&other.run_folder())?);
        ensure!(differing.is_empty(), "two runs that nobody harmed differ in {}", differing.join(", "));
        ensure!(!saves.is_empty(), "no save of it was seen");
        let (bytes, longest) = sizes(&trial.run_folder())?;
        Ok(Reference {
            case,
            bits,
            seconds,
            locked: locked.context("it took no lock")?,
            saves: saves.len(),
            save_seconds: saves.iter().sum::<f64>() / saves.len() as f64,
            bytes,
            longest,
        })
    }

    /// Does points 0 to `count` of the section called `section`, or the one that was asked for: `point` gets its number,
    /// its random numbers, and a folder of its own.
    pub(super) fn each<F>(&self, section: &str, count: usize, point: F) -> Result<BTreeMap<usize, Point>>
    where
        F: Fn(usize, &mut Stream, &Path) -> Result<Point> + Sync,
    {
        let numbers: Vec<usize> = self.only.map_or((0..count).collect(), |number| vec![number]);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        let work = || -> Result<()> {
            while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                let place = self.place(&format!("{section}-{number}"));
                let mut stream = self.key.named(section).with(number as u64).stream();
                let found = point(number, &mut stream, &place).with_context(|| format!("point {number}"))?;
                if place.exists() {
                    fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
                }
                done.lock().map_err(|_| anyhow!("another point panicked"))?.insert(number, found);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.min(numbers.len())).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(ended) => ended,
                Err(_) => bail!("a point panicked"),
            })
        })?;
        done.into_inner().map_err(|_| anyhow!("a point panicked"))
    }
}

/// Bytes that the files below `folder` take in pages, where a folder takes one, and the bytes of the longest.
fn sizes(folder: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut longest) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (more, long) = match entry.file_type()?.is_dir() {
            true => sizes(&entry.path()).map(|(more, long)| (more + 4096, long))?,
            false => entry.metadata().map(|file| (file.len().next_multiple_of(4096), file.len()))?,
        };
        (bytes, longest) = (bytes + more, longest.max(long));
    }
    Ok((bytes, longest))
}
