//! What kind of parameter a parameter is, which decides its learning rate.
//!
//! A rate that suits a pretrained matrix is too small for a head that starts at random, for an adapter that starts at 0
//! and for a mixing weight of order 1: each kind has a multiple of the base rate of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of parameter a parameter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pretrained weights, shared or a task's own copy.
    #[default]
    Encoder,
    /// A task's head.
    Head,
    /// What a strategy adds to an encoder: adapters, factors, prompts, biases and LayerNorms of a task's own.
    Added,
    /// What states or experts are mixed by: gates, stitches, scalar mixes.
    Mixing,
}

impl Role {
    /// Every role, in the order in which they are printed.
    pub const ALL: [Self; 4] = [Self::Encoder, Self::Head, Self::Added, Self::Mixing];

    /// The word that recipes and files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Head => "head",
            Self::Added => "added",
            Self::Mixing => "mixing",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The roles that a strategy's parameters can have, each with the multiple of the base learning rate that it has by
/// default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateScales {
    encoder: f64,
    head: f64,
    added: Option<f64>,
    mixing: Option<f64>,
}

impl RateScales {
    /// An encoder at the base rate and heads at ten times it, nothing else.
    pub const PLAIN: Self = Self { encoder: 1., head: 10., added: None, mixing: None };

    /// The same, and parameters that the strategy adds at `scale` times the base rate.
    #[must_use]
    pub const fn added(self, scale: f64) -> Self {
        Self { added: Some(scale), ..self }
    }

    /// The same, and mixing weights at `scale` times the base rate.
    #[must_use]
    pub const fn mixing(self, scale: f64) -> Self {
        Self { mixing: Some(scale), ..self }
    }

    /// The multiple for `role`; `None` if the strategy has no such parameters.
    pub fn of(&self, role: Role) -> Option<f64> {
        match role {
            Role::Encoder => Some(self.encoder),
            Role::Head => Some(self.head),
            Role::Added => self.added,
            Role::Mixing => self.mixing,
        }
    }

    /// The roles there are, with their multiples.
    pub fn iter(&self) -> impl Iterator<Item = (Role, f64)> + '_ {
        Role::ALL.into_iter().filter_map(|role| Some((role, self.of(role)?)))
    }
}

impl fmt::Display for RateScales {
    /// Such as `encoder 1×, head 10×, added 20×`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.iter().map(|(role, scale)| format!("{role} {scale}×")).collect();
        f.write_str(&words.join(", "))
    }
}
