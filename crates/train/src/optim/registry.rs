//! The optimizers, sorted by name.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Optimizer, adamw, sgd};

/// One entry of the registry.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The name a recipe uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Its settings with every default written out.
    pub defaults: fn() -> Value,
    /// What is wrong with settings.
    pub check: fn(&Value) -> Result<()>,
    /// Builds it.
    pub build: fn(&Value) -> Result<Box<dyn Optimizer>>,
}

/// Every optimizer. All have the setting `rate`.
pub const OPTIMIZERS: &[Entry] = &[adamw::ENTRY, sgd::ENTRY];

/// The optimizer called `name`.
///
/// # Errors
/// If there is none; names the nearest.
pub fn find(name: &str) -> Result<&'static Entry> {
    mtl_task::member("optimizer", name, OPTIMIZERS, |entry| entry.name)
}

/// Checks a setting that must be finite and at least 0.
pub(super) fn at_least_zero(key: &str, value: f64) -> Result<()> {
    if !value.is_finite() || value < 0. {
        bail!("`{key}` must be a finite number of at least 0, found {value}");
    }
    Ok(())
}
