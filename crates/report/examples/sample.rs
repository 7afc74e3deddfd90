//! Writes the report of a made-up comparison, to be looked at: `cargo run -p mtl-report --example sample -- FOLDER`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use anyhow::{Context, Result};
use mtl_report::{csv, html, latex, latex_document, markdown};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("name a folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    let mut nothing = support::sparse();
    nothing.arms.truncate(1);
    let samples = [
        ("full", support::comparison()),
        ("crowded", support::crowded()),
        ("sparse", support::sparse()),
        ("alone", nothing),
    ];
    for (name, comparison) in samples {
        std::fs::write(folder.join(format!("{name}.html")), html(&comparison)?)?;
        std::fs::write(folder.join(format!("{name}.md")), markdown(&comparison)?)?;
        std::fs::write(folder.join(format!("{name}.csv")), csv(&comparison)?)?;
        std::fs::write(folder.join(format!("{name}-table.tex")), latex(&comparison)?)?;
        std::fs::write(folder.join(format!("{name}.tex")), latex_document(&comparison)?)?;
    }
    Ok(())
}
