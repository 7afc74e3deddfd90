//! From proportional towards uniform while training goes on: p ∝ n^(1 − 0.8·progress) (Stickland and Murray 2019).
//!
//! `floor` is the exponent at the end (1 − 0.8), `steps` the number of steps after which it is reached: 0, the default,
//! for all of the run's, as in the paper.

use serde_json::json;

use super::settings::{number, powers};
use crate::sampler::SamplerKind;

/// The member of the registry.
pub const SAMPLER: SamplerKind = SamplerKind {
    name: "annealed",
    about: "p ∝ n^(1 − 0.8·progress): from proportional towards uniform (Stickland & Murray 2019)",
    defaults: || json!({ "floor": 0.2, "steps": 0 }),
    weights: |settings, sizes, fraction| {
        let floor = number(settings, "floor", 0., 1.)?;
        Ok(powers(sizes, 1. - (1. - floor) * fraction))
    },
    moves: true,
};
