//! Between proportional and uniform: p ∝ min(n, cap)^(1/temperature).

use serde_json::json;

use super::settings::{capped, number, powers};
use crate::sampler::SamplerKind;

/// The member of the registry.
pub const SAMPLER: SamplerKind = SamplerKind {
    name: "temperature",
    about: "p ∝ min(n, cap)^(1/temperature)",
    defaults: || json!({ "temperature": 2.0, "cap": 0 }),
    weights: |settings, sizes, _| {
        let temperature = number(settings, "temperature", 1e-3, f64::INFINITY)?;
        Ok(powers(&capped(settings, sizes), 1. / temperature))
    },
    moves: false,
};
