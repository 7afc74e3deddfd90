//! What several samplers do with their settings.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The number called `key`, which has to lie in [low, high].
pub(super) fn number(settings: &Value, key: &str, low: f64, high: f64) -> Result<f64> {
    let value = settings.get(key).and_then(Value::as_f64).with_context(|| format!("`{key}` must be a number"))?;
    if !(low..=high).contains(&value) {
        bail!("`{key}` must lie in [{low}, {high}], found {value}");
    }
    Ok(value)
}

/// `sizes`, none of them above the setting `cap` if that is not 0.
pub(super) fn capped(settings: &Value, sizes: &[usize]) -> Vec<usize> {
    let cap = settings.get("cap").and_then(Value::as_u64).filter(|&cap| cap > 0).map_or(usize::MAX, |cap| cap as usize);
    sizes.iter().map(|&size| size.min(cap)).collect()
}

/// Each size to the power of `exponent`.
pub(super) fn powers(sizes: &[usize], exponent: f64) -> Vec<f64> {
    sizes.iter().map(|&size| (size as f64).powf(exponent)).collect()
}
