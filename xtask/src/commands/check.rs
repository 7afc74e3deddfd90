//! `cargo xtask check`.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::locate::workspace;

/// Run the developers' checks, the cheapest first: format, lints, documentation, and `cargo deny` where it is installed.
#[derive(Debug, Args)]
pub struct Check {}

const CHECKS: &[&[&str]] = &[
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["doc", "--workspace", "--no-deps"],
];

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        for check in CHECKS {
            cargo(check)?;
        }
        let denies = Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|out| out.status.success());
        if denies {
            cargo(&["deny", "check"])?;
        } else {
            eprintln!("skipped: cargo deny is not installed");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn cargo(arguments: &[&str]) -> Result<()> {
    eprintln!("cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(workspace())
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
