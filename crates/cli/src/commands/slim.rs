//! `slim`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use mtl_train::{Trained, slim};

use crate::device::set_threads;
use crate::folder::NewFolder;
use crate::output;

/// Copy a finished run without what only its training needed
///
/// The copy has the weights that answer, the heads, the tokenizer, the recipe and the report; no optimizer, no other
/// checkpoint, no metrics of the steps. `predict`, `evaluate` and `export` take it for the run.
#[derive(Debug, Args)]
pub struct Slim {
    /// The run folder
    run: PathBuf,
    /// The folder to make [default: the run's name with `-slim` behind it]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

impl Slim {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        let to = match self.to {
            Some(to) => to,
            None => {
                // The name of `.` or `..` is that of the folder that it leads to.
                let run = match self.run.file_name() {
                    Some(_) => self.run.clone(),
                    None => self.run.canonicalize().with_context(|| format!("cannot read {}", self.run.display()))?,
                };
                let name = run.file_name().context("the run folder has no name; --to names the copy")?;
                run.with_file_name(format!("{}-slim", name.to_string_lossy()))
            }
        };
        let new = NewFolder::beside(&to)?;
        slim(&context.registries, &self.run, new.path())?;
        // A copy that does not open is none.
        set_threads(0)?;
        Trained::open(&context.registries, new.path(), &candle_core::Device::Cpu)
            .with_context(|| format!("the copy of {} does not open", self.run.display()))?;
        new.keep()?;
        let megabytes = |folder: &Path| size(folder) as f64 / 1e6;
        output::result(&format!(
            "{}: {:.1} MB, of the run's {:.1} MB",
            to.display(),
            megabytes(&to),
            megabytes(&self.run)
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Bytes of the files in `folder` and below.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) })
        .sum()
}
