//! What strategies are made of: walks of the encoder, own values over shared ones, low-rank changes, experts, mixes,
//! penalties, and what gradients say of who belongs together.

pub(crate) mod additions;
pub(crate) mod delta;
pub(crate) mod evidence;
pub(crate) mod experts;
pub(crate) mod overlay;
pub(crate) mod penalty;
pub(crate) mod pull;
pub(crate) mod row_pair;
pub(crate) mod singular_values;
pub(crate) mod stitch;
pub(crate) mod target;
pub(crate) mod trunk;
pub(crate) mod values;
pub(crate) mod walk;
