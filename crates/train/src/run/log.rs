//! `metrics.jsonl`: one object a step.
//!
//! The file ends with the checkpoint that a run goes on from: lines are on disk before the checkpoint of their step is,
//! and those of later steps, which are done again, are cut off first. Whatever kills the run, the file holds each step
//! once in the end.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::StepReport;
use crate::store::write_atomically;

/// The metrics file of a run.
pub(super) struct Log {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Log {
    /// Opens `path` to continue after step `from`: lines of later steps, which are to be done again, are cut off. Returns
    /// also what is to be said of lines that should be there.
    ///
    /// # Errors
    /// If the file cannot be read or written; what it held is then untouched.
    pub(super) fn open(path: &Path, from: usize) -> Result<(Self, Vec<String>)> {
        let context = || format!("cannot write {}", path.display());
        let history = History::read(path, from).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(length) = history.whole_until {
            let file = OpenOptions::new().write(true).open(path).with_context(context)?;
            file.set_len(length).and_then(|()| file.sync_all()).with_context(context)?;
        } else {
            let kept = history.kept(path).with_context(|| format!("cannot read {}", path.display()))?;
            write_atomically(path, &kept)?;
        }
        let file = OpenOptions::new().append(true).open(path).with_context(context)?;
        let log = Self { file: BufWriter::new(file), path: path.to_path_buf() };
        Ok((log, history.missing(path, from).into_iter().collect()))
    }

    /// Writes the line of step `step`.
    pub(super) fn step(
        &mut self,
        step: usize,
        phase: &str,
        rate: f64,
        seconds: f64,
        report: &StepReport,
    ) -> Result<()> {
        let outcomes: Vec<&str> = report.outcomes.iter().map(|(status, _)| status.as_str()).collect();
        let residual = report.outcomes.iter().map(|(_, residual)| *residual).fold(0., f64::max);
        let mut line = json!({
            "step": step, "phase": phase, "learning_rate": rate, "tasks": report.tasks, "losses": report.losses,
            "weights": report.weights, "gradient_norm": report.gradient_norm, "outcomes": outcomes, "residual": residual,
            "warnings": report.warnings, "tokens": report.tokens, "seconds": seconds,
            "tokens_per_second": report.tokens as f64 / seconds,
        });
        // Absent, not 0, in steps that kept no task's gradient on its own.
        if !report.norms.is_empty() {
            line["gradient_norms"] = json!(report.norms);
            line["cosines"] = json!(report.cosines);
        }
        if !report.events.is_empty() {
            line["events"] = json!(report.events);
        }
        if !report.left.is_empty() {
            line["left"] = json!(report.left);
        }
        writeln!(self.file, "{line}").with_context(|| self.refused())
    }

    /// Puts everything on disk.
    pub(super) fn flush(&mut self) -> Result<()> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        flushed.with_context(|| self.refused())
    }

    fn refused(&self) -> String {
        format!("{}: cannot be written; check the folder's permissions and free space", self.path.display())
    }
}

/// What of a line tells its place.
#[derive(Deserialize)]
struct Line {
    step: usize,
}

/// The lines of a file that a run keeps, each step's first, in order.
#[derive(Default)]
struct History {
    /// Where they lie, neighbours joined.
    kept: Vec<Range<u64>>,
    /// Steps that have none.
    lost: Vec<Range<usize>>,
    /// Where the kept part of the file ends if it is its beginning; none if the file is not there, or has to be written
    /// anew.
    whole_until: Option<u64>,
}

impl History {
    fn read(path: &Path, from: usize) -> std::io::Result<Self> {
        let mut history = Self::default();
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                history.lose(0..from);
                return Ok(history);
            }
            Err(error) => return Err(error),
        };
        // Bytes, not text: a tail that is no UTF-8 is one bad line, and no reason to lose the others.
        let (mut line, mut at, mut next, mut ended) = (Vec::new(), 0, 0, true);
        while file.read_until(b'\n', &mut line)? > 0 {
            let place = at..at + line.len() as u64;
            at = place.end;
            let step = serde_json::from_slice::<Line>(&line).ok().map(|line| line.step);
            if let Some(step) = step.filter(|step| (next..from).contains(step)) {
                history.lose(next..step);
                next = step + 1;
                ended = line.ends_with(b"\n");
                match history.kept.last_mut() {
                    Some(last) if last.end == place.start => last.end = place.end,
                    _ => history.kept.push(place),
                }
            }
            line.clear();
        }
        history.lose(next..from);
        history.whole_until = match history.kept.as_slice() {
            [] => Some(0),
            [one] if one.start == 0 && ended => Some(one.end),
            _ => None,
        };
        Ok(history)
    }

    fn lose(&mut self, steps: Range<usize>) {
        if !steps.is_empty() {
            self.lost.push(steps);
        }
    }

    /// The kept lines of the file.
    fn kept(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.kept.is_empty() {
            return Ok(bytes);
        }
        let mut file = File::open(path)?;
        for range in &self.kept {
            file.seek(SeekFrom::Start(range.start))?;
            Read::by_ref(&mut file).take(range.end - range.start).read_to_end(&mut bytes)?;
            if !bytes.ends_with(b"\n") {
                bytes.push(b'\n');
            }
        }
        Ok(bytes)
    }

    /// What is to be said of lost lines.
    fn missing(&self, path: &Path, from: usize) -> Option<String> {
        let count: usize = self.lost.iter().map(Range::len).sum();
        let shown = |steps: &Range<usize>| match steps.len() {
            1 => steps.start.to_string(),
            _ => format!("{} to {}", steps.start, steps.end - 1),
        };
        let shown_first: Vec<String> = self.lost.iter().take(3).map(shown).collect();
        let more = if self.lost.len() > 3 { " and others" } else { "" };
        (count > 0).then(|| {
            format!(
                "{}: the lines of {count} of the {from} steps so far are missing or damaged (step {}{more}); training goes \
                 on, and the other lines are kept",
                path.display(),
                shown_first.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize) -> String {
        format!("{{\"step\":{step},\"losses\":[0.5]}}\n")
    }

    fn lines(steps: Range<usize>) -> String {
        steps.map(line).collect()
    }

    /// What is left of `before` once a run opens it after step `from`, and what is said of it.
    fn opened(before: Option<&[u8]>, from: usize) -> (String, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        if let Some(bytes) = before {
            std::fs::write(&path, bytes).expect("written");
        }
        let (mut log, notes) = Log::open(&path, from).expect("opened");
        log.step(from, "all", 0.1, 1., &StepReport::default()).expect("written");
        log.flush().expect("flushed");
        let text = std::fs::read_to_string(&path).expect("text");
        let (kept, last) = text.trim_end().rsplit_once('\n').map_or(("", text.trim_end()), |parts| parts);
        assert!(serde_json::from_str::<Line>(last).expect("a line").step == from);
        (if kept.is_empty() { String::new() } else { format!("{kept}\n") }, notes)
    }

    #[test]
    fn lines_of_steps_that_are_done_again_are_cut_and_no_other() {
        for (before, from) in [
            (lines(0..5), 5),
            (lines(0..9), 5),
            // Two kills: steps that were done again, then the beginning of a line.
            (format!("{}{}", lines(0..8), lines(5..7)), 5),
            (format!("{}{{\"step\":5,\"los", lines(0..5)), 5),
            (format!("{}\n\n", lines(0..5)), 5),
            (String::new(), 0),
            (lines(0..3), 0),
        ] {
            let (kept, notes) = opened(Some(before.as_bytes()), from);
            assert_eq!((kept, notes), (lines(0..from), vec![]), "{before:?}");
        }
        assert_eq!(opened(None, 0), (String::new(), vec![]));
    }

    #[test]
    fn a_tail_that_is_no_text_costs_no_line_before_it() {
        for tail in [&b"\xff\xfe\x00"[..], b"{\"step\":5,\"phase\":\"\xc3", b"\0\0\0\0\0\0\0\0\n\0\0"] {
            let (kept, notes) = opened(Some(&[lines(0..5).as_bytes(), tail].concat()), 5);
            assert_eq!((kept, notes), (lines(0..5), vec![]), "{tail:?}");
        }
    }

    #[test]
    fn lines_that_should_be_there_are_missed_aloud() {
        let (kept, notes) = opened(None, 4);
        assert_eq!(kept, "");
        assert!(
            notes[0].contains("metrics.jsonl") && notes[0].contains("4 of the 4 steps") && notes[0].contains("0 to 3")
        );
        let holed = [lines(0..2).as_bytes(), b"{\"step\":\xff}\n", lines(3..5).as_bytes()].concat();
        let (kept, notes) = opened(Some(&holed), 6);
        assert_eq!(kept, lines(0..2) + &lines(3..5));
        assert!(notes[0].contains("2 of the 6 steps") && notes[0].contains("(step 2, 5)"), "{notes:?}");
        // A last line without its end is a line.
        let (kept, notes) = opened(Some(lines(0..3).trim_end().as_bytes()), 3);
        assert_eq!((kept, notes), (lines(0..3), vec![]));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_empty_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = format!("{:#}", Log::open(folder.path(), 3).err().expect("a folder is no file"));
        assert!(error.contains("cannot read"), "{error}");
    }
}
