//! `metrics.jsonl`: one object a step.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::StepReport;
use crate::store::write_atomically;

/// The metrics file of a run.
pub(super) struct Log(BufWriter<File>);

impl Log {
    /// Opens `path` to continue after step `from`: lines of later steps, which a crash left over, are cut off.
    pub(super) fn open(path: &Path, from: usize) -> Result<Self> {
        let context = || format!("cannot write {}", path.display());
        let kept = match std::fs::read_to_string(path) {
            Ok(text) => text.lines().filter(|line| before(line, from)).map(|line| format!("{line}\n")).collect(),
            Err(_) => String::new(),
        };
        // Whole before and after: a kill here must not take the lines of the steps that are not repeated.
        write_atomically(path, kept.as_bytes())?;
        Ok(Self(BufWriter::new(OpenOptions::new().append(true).open(path).with_context(context)?)))
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
        writeln!(self.0, "{line}").context("cannot write metrics.jsonl")
    }

    /// Puts everything on disk.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.0.flush()?;
        Ok(self.0.get_ref().sync_data()?)
    }
}

fn before(line: &str, from: usize) -> bool {
    let step = serde_json::from_str::<Value>(line).ok().and_then(|value| value["step"].as_u64());
    step.is_some_and(|step| (step as usize) < from)
}
