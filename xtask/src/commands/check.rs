//! `cargo xtask check`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::documents;

/// Run the developers' checks, the cheapest first: shipped manifests, tables of the documents, format, lints,
/// documentation, and `cargo deny` where it is installed.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Copy datasets/ and models/ to where the binary `mtl` takes what it ships, and do nothing else
    #[arg(long)]
    assets: bool,
    /// Write the tables of the documents that repeat what the registries say, and do nothing else
    #[arg(long, conflicts_with = "assets")]
    docs: bool,
}

const CHECKS: &[&[&str]] = &[
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["doc", "--workspace", "--no-deps"],
];

/// Advisories need the database of the network: hosted CI asks for them.
const DENY: &[&str] = &["deny", "--config", ".ci/deny.toml", "check", "licenses", "bans", "sources"];

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let checkout = mtl_cli::checkout().context("this is no checkout of mtl")?;
        if self.assets {
            ship(&checkout)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.docs {
            documents::renew(&checkout)?;
            return Ok(ExitCode::SUCCESS);
        }
        let differing = mtl_cli::differing(&checkout)?;
        if !differing.is_empty() {
            bail!("not as shipped: {}; `cargo xtask check --assets` ships them", differing.join(", "));
        }
        let stale: Vec<String> = documents::stale(&checkout)?.iter().map(|path| path.display().to_string()).collect();
        if !stale.is_empty() {
            bail!("stale: {}; `cargo xtask check --docs` writes what the registries say", stale.join(", "));
        }
        for check in CHECKS {
            cargo(&checkout, check)?;
        }
        let denies = Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|out| out.status.success());
        if denies {
            cargo(&checkout, DENY)?;
        } else {
            eprintln!("skipped: cargo deny is not installed");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn cargo(checkout: &Path, arguments: &[&str]) -> Result<()> {
    eprintln!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(checkout)
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

/// Copies the manifests of `checkout` into the assets of `mtl-cli`, and lets the binary be built anew.
fn ship(checkout: &Path) -> Result<()> {
    for folder in ["datasets", "models"] {
        let assets = checkout.join("crates/cli/assets").join(folder);
        for old in manifests(&assets)? {
            fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        for path in manifests(&checkout.join(folder))? {
            let to = assets.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &to).with_context(|| format!("cannot write {}", to.display()))?;
            beside(&path.with_extension(""), &to.with_extension(""))?;
        }
    }
    // Cargo follows the files that were there at the last build; a new one it notices by the file that takes them in.
    let taker = checkout.join("crates/cli/src/assets.rs");
    let file =
        fs::File::options().append(true).open(&taker).with_context(|| format!("cannot open {}", taker.display()))?;
    file.set_modified(std::time::SystemTime::now()).with_context(|| format!("cannot touch {}", taker.display()))
}

/// Copies the files that lie beside a manifest in the folder `from`, if there is one, and no others, to `to`.
fn beside(from: &Path, to: &Path) -> Result<()> {
    if to.is_dir() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        fs::copy(entry.path(), &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// The TOML files of a folder.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(path);
        }
    }
    Ok(found)
}
