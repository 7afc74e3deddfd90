//! In proportion to the number of training examples: p ∝ n.

use serde_json::json;

use super::settings::{capped, powers};
use crate::sampler::SamplerKind;

/// The member of the registry.
pub const SAMPLER: SamplerKind = SamplerKind {
    name: "proportional",
    about: "p ∝ n, the number of training examples (at most `cap` of them counted; 0 for no cap)",
    defaults: || json!({ "cap": 0 }),
    weights: |settings, sizes, _| Ok(powers(&capped(settings, sizes), 1.)),
    moves: false,
};
