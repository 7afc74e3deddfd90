//! A file of claims, with the hash by which a plan knows it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mtl_report::claims::Claims;
use sha2::{Digest, Sha256};

/// A file of claims and its hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// What it claims.
    pub claims: Claims,
    /// Its file's name.
    pub name: String,
    /// Hex SHA-256 of its bytes.
    pub digits: String,
}

impl Claimed {
    /// The claims in the file `path`, checked.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML of this form, or claims what no rows could meet.
    pub fn read(path: &Path) -> Result<Self> {
        let place = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", place()))?;
        // The parser's message carries line, column and the line itself.
        let claims: Claims = match toml::from_str(&text) {
            Ok(claims) => claims,
            Err(error) => bail!("{}: {error}", place()),
        };
        claims.check().with_context(place)?;
        let digits = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.file_name().map_or_else(place, |name| name.to_string_lossy().into_owned());
        Ok(Self { claims, name, digits })
    }

    /// How a plan and rows name it: file and hash.
    pub fn words(&self) -> String {
        format!("{}, sha256 {}", self.name, self.digits)
    }

    /// The differences that it asks for of the experiment `title`.
    ///
    /// # Errors
    /// If it asks for none.
    pub(crate) fn pairs(&self, title: &str) -> Result<Vec<(String, String)>> {
        let pairs = self.claims.pairs(title);
        if pairs.is_empty() {
            let suites: Vec<&str> = self.claims.suites.values().map(String::as_str).collect();
            bail!("claims: {} asks nothing of `{title}`; its suites are {}", self.name, suites.join(", "));
        }
        Ok(pairs)
    }
}
