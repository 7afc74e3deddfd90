//! Every task the same share.

use serde_json::json;

use super::settings::powers;
use crate::sampler::SamplerKind;

/// The member of the registry.
pub const SAMPLER: SamplerKind = SamplerKind {
    name: "uniform",
    about: "every task the same share",
    defaults: || json!({}),
    weights: |_, sizes, _| Ok(powers(sizes, 0.)),
    moves: false,
};
