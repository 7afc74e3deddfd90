//! `push`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use mtl_hub::{Fetcher, Push as Publish, Pushed, Silent, Transfer, Watch, readable};
use mtl_train::slim;

use crate::checkout::cache;
use crate::output;

/// Publish a run, or a folder that `export` wrote, as a repository of the Hugging Face Hub
///
/// Of a run its slim copy is sent: what answers, without what only its training needed. Any other folder is sent as it is,
/// hidden files left out. The files become one commit. The token is HF_TOKEN, or the one that the Hub's own client stored.
#[derive(Debug, Args)]
pub struct Push {
    /// The run folder, or a folder of `export`
    folder: PathBuf,
    /// The repository, as ORGANISATION/NAME or USER/NAME; made if it is not there
    repository: String,
    /// Let everybody read a repository that is made; else it is private
    #[arg(long)]
    public: bool,
    /// What the commit is called
    #[arg(long, default_value = "Add a model trained by mtl")]
    message: String,
}

impl Push {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        let fetcher = Fetcher::from_environment(cache()?.0, false);
        if fetcher.offline {
            bail!("HF_HUB_OFFLINE forbids to use the network, and publishing needs it");
        }
        if !self.folder.is_dir() {
            bail!("{}: no such folder", self.folder.display());
        }
        let is_run = ["recipe.toml", "tasks.json", "checkpoints"].iter().all(|name| self.folder.join(name).exists());
        let copy = tempfile::tempdir().context("cannot make a folder for the slim copy")?;
        let folder = match is_run {
            true => {
                slim(&context.registries, &self.folder, copy.path())?;
                copy.path()
            }
            false => self.folder.as_path(),
        };
        let push = Publish { folder, repository: &self.repository, public: self.public, message: &self.message };
        let pushed = fetcher.hub.push(&push, fetcher.patience, &Sending);
        let Pushed { url, commit, files, sent } =
            pushed.with_context(|| format!("{} is not published", self.folder.display()))?;
        output::result(&format!("{url}\ncommit {commit}: {files} files, {sent} of them sent to the storage anew"));
        Ok(ExitCode::SUCCESS)
    }
}

/// Says what is being sent.
struct Sending;

impl Watch for Sending {
    fn note(&self, line: &str) {
        output::note(line);
    }

    fn begin(&self, label: &str, size: Option<u64>) -> Box<dyn Transfer> {
        let size = size.map(|size| format!(" ({})", readable(size))).unwrap_or_default();
        output::note(&format!("sending {label}{size}"));
        Box::new(Silent)
    }
}
