//! The members that recipes and manifests may name: the built-in ones by default, and those that a program adds.

use std::fmt;

use mtl_sharing::Strategy;
use mtl_task::{Member, Registry};
use mtl_weighting::Rule;

use crate::optim::OptimizerKind;

/// Every registry that a recipe is read by.
///
/// ```
/// let registries = mtl_train::Registries::default();
/// assert!(registries.strategies.find("hard").is_ok() && registries.rules.find("nash").is_ok());
/// ```
#[derive(Clone, Default)]
pub struct Registries {
    /// Sharing strategies: `[sharing] strategy`.
    pub strategies: Registry<Strategy>,
    /// Weighting rules: `[weighting] rule`.
    pub rules: Registry<Rule>,
    /// Optimizers: `[optimizer] name`.
    pub optimizers: Registry<OptimizerKind>,
}

impl Registries {
    /// The names of all members, registry by registry.
    fn names(&self) -> [(&'static str, Vec<&str>); 3] {
        [
            (Strategy::KIND, self.strategies.names()),
            (Rule::KIND, self.rules.names()),
            (OptimizerKind::KIND, self.optimizers.names()),
        ]
    }
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names()).finish()
    }
}

/// Two are the same if the same names are in them.
impl PartialEq for Registries {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}
