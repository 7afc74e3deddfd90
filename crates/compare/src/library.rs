//! Where the files come from that experiments name; whoever runs a comparison says so.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use mtl_train::{Located, Recipe, Registries};

/// The text of a recipe or an experiment, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its file stem: what run folders and reports call it.
    pub name: String,
    /// Its path, for messages.
    pub location: String,
    /// The folder that relative paths in it start from.
    pub folder: PathBuf,
    /// The TOML.
    pub text: String,
}

/// Finds what recipes and experiments name.
pub trait Library {
    /// What names in recipes mean.
    fn registries(&self) -> Arc<Registries>;

    /// The recipe that `name` means: a shipped one, or the path of one.
    ///
    /// # Errors
    /// If there is none.
    fn recipe(&self, name: &str) -> Result<Document>;

    /// Finds or fetches everything that `recipe` names. This process can follow its paths as they are.
    ///
    /// # Errors
    /// If something is unknown or malformed; as [`Unavailable`] if it may be there another time.
    fn locate(&self, recipe: &Recipe) -> Result<Located>;
}

/// An error that may pass, such as that of a network: nothing is wrong with what was asked for.
#[derive(Debug)]
pub struct Unavailable(pub anyhow::Error);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Unavailable {}
