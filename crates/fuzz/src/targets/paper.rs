//! What `paper` reads: claims, and the rows of experiments.

use anyhow::{Context, Result};
use mtl_report::claims::Claims;
use mtl_report::paper::{FILES, Rows, paper};

/// What experiments shall show, judged by no rows at all.
pub(super) fn claims(bytes: &[u8]) -> Result<()> {
    let claims: Claims = toml::from_str(std::str::from_utf8(bytes).context("claims.toml")?).context("claims.toml")?;
    claims.check().context("claims.toml")?;
    for experiment in claims.suites.values() {
        claims.pairs(experiment);
    }
    claims.judge(&[], "").map(drop)
}

/// Files of rows, each behind a line `== NAME`, and the paper that they make.
pub(super) fn rows(bytes: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(bytes).context("rows")?;
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("== ").and_then(|name| FILES.iter().find(|known| **known == name.trim())) {
            Some(name) => files.push((*name, String::new())),
            None => match files.last_mut() {
                Some((_, text)) => text.push_str(line),
                None => anyhow::bail!("rows: `{}` stands before any file", line.trim()),
            },
        }
    }
    paper(&[Rows::parse("rows", &files)?], &[]).map(drop)
}
