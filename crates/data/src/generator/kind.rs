//! A member of the registry of generators.

use anyhow::Result;
use serde_json::Value;

use crate::RawExample;

/// A generator, by its name.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorKind {
    /// The name a manifest uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// The rows that it writes under the other keys of the manifest's `[generator]`, an object: the same ones every time.
    /// Refuses keys that it does not know.
    pub rows: fn(&Value) -> Result<Vec<RawExample>>,
    /// Every word that it may write under these settings, which an encoder of random weights reads.
    pub vocabulary: fn(&Value) -> Result<Vec<String>>,
}
