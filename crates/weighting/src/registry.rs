//! The weighting rules, sorted by name.

use serde_json::Value;

use crate::{Property, Weighting};
use crate::{
    aligned_mtl, auto_lambda, cagrad, config, db_mtl, dualproj, dwa, equal, excess_mtl, fairgrad, famo, fixed, gls,
    graddrop, gradnorm, gradvac, imtl_g, imtl_l, krum, mean, mgda, moco, modo, nash, pcgrad, random, scale_invariant,
    sdmgrad, single_task, stch, trimmed_mean, uncertainty, upgrad,
};

/// Every weighting rule.
pub const RULES: &[Entry] = &[
    aligned_mtl::ENTRY,
    auto_lambda::ENTRY,
    cagrad::ENTRY,
    config::ENTRY,
    db_mtl::ENTRY,
    dualproj::ENTRY,
    dwa::ENTRY,
    equal::ENTRY,
    excess_mtl::ENTRY,
    fairgrad::ENTRY,
    famo::ENTRY,
    fixed::ENTRY,
    gls::ENTRY,
    graddrop::ENTRY,
    gradnorm::ENTRY,
    gradvac::ENTRY,
    imtl_g::ENTRY,
    imtl_l::ENTRY,
    krum::ENTRY,
    mean::ENTRY,
    mgda::ENTRY,
    moco::ENTRY,
    modo::ENTRY,
    nash::ENTRY,
    pcgrad::ENTRY,
    random::ENTRY,
    scale_invariant::ENTRY,
    sdmgrad::ENTRY,
    single_task::ENTRY,
    stch::ENTRY,
    trimmed_mean::ENTRY,
    uncertainty::ENTRY,
    upgrad::ENTRY,
];

/// What a rule sees, which is what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// K losses: one backward pass over their weighted sum.
    Losses,
    /// The K×K inner products of the task gradients.
    Gram,
    /// Every coordinate of the task gradients.
    Jacobian,
}

impl Class {
    /// The word for lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Losses => "losses",
            Self::Gram => "gram",
            Self::Jacobian => "jacobian",
        }
    }
}

/// One line of the registry.
pub struct Entry {
    /// The name a recipe uses.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// One line for `list`.
    pub about: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Whether an independent oracle confirms it: a golden case, a peer's trace or a closed form.
    pub verified: bool,
    /// What it sees.
    pub class: Class,
    /// What it claims with its default settings.
    pub properties: &'static [Property],
    /// Builds it for so many tasks from its settings, an object; unknown keys are refused with the nearest known.
    pub build: fn(tasks: usize, settings: &Value) -> Result<Weighting, String>,
    /// Its settings with their default values, an object.
    pub defaults: fn() -> Value,
}

/// The rule called `name`.
///
/// # Errors
/// If there is none; the message names the nearest.
pub fn find(name: &str) -> Result<&'static Entry, String> {
    let is = |entry: &&Entry| entry.name == name || entry.aliases.contains(&name);
    RULES.iter().find(is).ok_or_else(|| {
        let names: Vec<&str> = RULES.iter().flat_map(|entry| [&[entry.name], entry.aliases].concat()).collect();
        let listed: Vec<&str> = RULES.iter().map(|entry| entry.name).collect();
        format!(
            "unknown weighting rule `{name}`{}; there are {}",
            mtl_task::nearest(name, names.iter().copied()),
            listed.join(", ")
        )
    })
}
