//! Generators: datasets that a program writes, so that they need no network and their truth is known.

mod planted;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::manifest::Generator;
use crate::texts::RawExample;

pub use planted::{FACTORS, Relation, relation};

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    rows: fn(&Value) -> Result<Vec<RawExample>>,
    vocabulary: fn(&Value) -> Result<Vec<String>>,
}

/// Every generator, sorted by name.
pub const GENERATORS: &[Entry] = &[planted::ENTRY];

fn find(generator: &Generator) -> Result<(&'static Entry, Value)> {
    let entry = mtl_task::member("generator", &generator.name, GENERATORS, |entry| entry.name)?;
    Ok((entry, serde_json::to_value(&generator.settings)?))
}

/// The rows that `generator` writes.
pub(crate) fn rows(generator: &Generator) -> Result<Vec<RawExample>> {
    let (entry, settings) = find(generator)?;
    (entry.rows)(&settings).with_context(|| format!("generator `{}`", generator.name))
}

/// Every word that `generator` may write.
pub(crate) fn vocabulary(generator: &Generator) -> Result<Vec<String>> {
    let (entry, settings) = find(generator)?;
    (entry.vocabulary)(&settings).with_context(|| format!("generator `{}`", generator.name))
}
