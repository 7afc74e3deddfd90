//! The recipe that a run folder holds: a run goes on by the one that it was begun with, in the words of then.

use std::path::Path;

use anyhow::Result;

use crate::recipe::Recipe;

/// The recipe of a run, its text in the run folder, and what is to be said of it.
pub(super) struct Stored {
    pub(super) recipe: Recipe,
    pub(super) text: String,
    pub(super) note: Option<String>,
}

impl Stored {
    /// `recipe` for a run that begins.
    pub(super) fn new(recipe: Recipe) -> Result<Self> {
        Ok(Self { text: recipe.to_toml()?, recipe, note: None })
    }

    /// `recipe` for a run in `folder` that goes on. Where the text there says the same in the words of an earlier version,
    /// that text counts; one without `[optimizer.groups]` had one learning rate for all kinds of parameter, and keeps it,
    /// unless `recipe` states others.
    pub(super) fn continued(recipe: Recipe, folder: &Path) -> Result<Self> {
        let path = folder.join("recipe.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { return Self::new(recipe) };
        let before = Recipe::parse_resolved(&recipe.registries, &path.display().to_string(), &text);
        // What cannot be read is no recipe of this run's; the checkpoint will tell.
        let Ok(before) = before else { return Self::new(recipe) };
        if before == recipe {
            return Ok(Self { recipe, text, note: None });
        }
        if recipe.has_default_groups()? && before == recipe.clone().with_one_rate() {
            let note = "the run was begun with one learning rate for all kinds of parameter, and keeps it".to_string();
            return Ok(Self { recipe: before, text, note: Some(note) });
        }
        Self::new(recipe)
    }
}
