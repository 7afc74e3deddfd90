//! `paper`: every table and figure of a paper, and what rows say of claims, from the rows that comparisons wrote.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use mtl_compare::Claimed;
use mtl_report::paper::{FILES, MARK, PAGE, Rows, paper};
use mtl_train::write_atomically;

use crate::{Context, output};

/// Make the tables and figures of a paper from the rows of comparisons, and judge claims by them.
///
/// A folder holds report.csv, metrics.csv and intervals.csv as `compare` writes them, or regimes.csv; what is missing is
/// left out. Nothing is run, and the same rows give the same bytes: tables as LaTeX (booktabs) and Markdown, figures as
/// SVG, and paper.md and paper.tex with all of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} paper docs/results/mixed docs/results/regimes --to runs/paper\n  \
    {program} paper docs/results/* --to runs/paper --claims my-claims.toml")]
pub struct Paper {
    /// Folders with rows, one an experiment
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// The folder that is written: a new one, or that of a paper
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Claims to judge, as an experiment's `claims` names them
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
}

impl Paper {
    pub(super) fn run(self, _context: &Context) -> Result<ExitCode> {
        let claimed = self.claims.as_deref().map(Claimed::read).transpose()?;
        let rows = self.folders.iter().map(|folder| rows(folder)).collect::<Result<Vec<_>>>()?;
        let judged = match &claimed {
            Some(claimed) => claimed.claims.judge(&rows, &claimed.digits).with_context(|| claimed.name.clone())?,
            None => Vec::new(),
        };
        let files = paper(&rows, &judged)?;
        refuse_others(&self.to, files.keys().map(String::as_str))?;
        std::fs::create_dir_all(&self.to).with_context(|| format!("cannot make {}", self.to.display()))?;
        // The page last: a folder that holds it is whole.
        let (page, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == PAGE);
        for (name, text) in others.into_iter().chain(page) {
            write_atomically(&self.to.join(name), text.as_bytes())?;
        }
        judged.iter().flat_map(|one| one.lines()).try_for_each(|line| output::line(&line))?;
        output::note(&format!("{} files: {}", files.len(), self.to.join(PAGE).display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// The rows of a folder.
fn rows(folder: &Path) -> Result<Rows> {
    let mut found = Vec::new();
    for name in FILES {
        let path = folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => found.push((name, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Rows::parse(&folder.display().to_string(), &found)
}

/// Refuses a folder with files of others under names that are written.
fn refuse_others<'a>(to: &Path, mut names: impl Iterator<Item = &'a str>) -> Result<()> {
    let page = std::fs::read_to_string(to.join(PAGE)).unwrap_or_default();
    if page.starts_with(MARK) {
        return Ok(());
    }
    match names.find(|name| to.join(name).symlink_metadata().is_ok()) {
        Some(name) => bail!("{}: holds `{name}`, which is not of a paper; choose another --to", to.display()),
        None => Ok(()),
    }
}
