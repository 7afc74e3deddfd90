//! The optimizers, sorted by name.

use anyhow::{Result, bail};
use mtl_task::Member;
use serde_json::Value;

use super::{Optimizer, adamw, sgd};

/// An optimizer, by its name.
#[derive(Clone, Copy)]
pub struct OptimizerKind {
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
pub(super) const BUILT_IN: &[OptimizerKind] = &[adamw::ENTRY, sgd::ENTRY];

impl Member for OptimizerKind {
    const KIND: &'static str = "optimizer";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// The learning rate that `settings` of the optimizer called `name` state. One of 0 holds everything still, on purpose.
///
/// # Errors
/// If there is none, or it is not a finite number of at least 0.
pub(crate) fn rate(name: &str, settings: &Value) -> Result<f64> {
    match settings.get("rate") {
        None => {
            bail!("optimizer `{name}` has no setting `rate`, so nothing could be learnt; give it one with a default")
        }
        Some(value) => {
            let Some(rate) = value.as_f64() else {
                bail!("`rate` of optimizer `{name}` must be a number, found {value}")
            };
            at_least_zero("rate", rate)?;
            Ok(rate)
        }
    }
}

/// Checks a setting that must be finite and at least 0.
pub(super) fn at_least_zero(key: &str, value: f64) -> Result<()> {
    if !value.is_finite() || value < 0. {
        bail!("`{key}` must be a finite number of at least 0, found {value}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_optimizer_without_a_rate_is_refused_and_one_that_stands_still_is_not() {
        for entry in BUILT_IN {
            assert!(rate(entry.name, &(entry.defaults)()).expect("a rate") > 0., "{}", entry.name);
        }
        assert_eq!(rate("x", &json!({ "rate": 0 })).ok(), Some(0.));
        for (settings, wanted) in [
            (json!({ "step": 0.1 }), "optimizer `x` has no setting `rate`"),
            (json!({ "rate": "fast" }), "must be a number, found \"fast\""),
            (json!({ "rate": -1. }), "at least 0, found -1"),
        ] {
            let error = rate("x", &settings).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
