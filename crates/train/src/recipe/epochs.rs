//! `train.epochs`: how long a training is, in passes over the examples of one task.
//!
//! Until the data is there, nobody knows how many steps that are; a recipe that states epochs has 0 steps until then. What a
//! run folder holds states the steps.

use anyhow::{Result, bail};

use super::document::Document;
use super::{Recipe, Train};
use crate::schedule;

/// Most steps that epochs may come to.
const MOST: f64 = 1e9;

/// Checks what `train` says of epochs, and takes away the default number of steps where it states some. `tasks` are what
/// the tasks are called.
pub(super) fn settle(document: &Document, train: &mut Train, tasks: &[String]) -> Result<()> {
    let at = |key: &str| document.place(&["train", key]);
    let Some(epochs) = train.epochs else {
        if train.epochs_of.is_some() {
            bail!(
                "{}: `epochs_of` says of which task `epochs` counts the examples, and there is no `epochs`",
                at("epochs_of")
            );
        }
        return Ok(());
    };
    if document.value.pointer("/train/steps").is_some() {
        bail!("{}: `epochs` and `steps` are two answers to one question; state one of them", at("epochs"));
    }
    if !epochs.is_finite() || epochs <= 0. {
        bail!("{}: `epochs` must be a finite number above 0, found {epochs}", at("epochs"));
    }
    if let Some(name) = train.epochs_of.as_ref().filter(|name| !tasks.contains(name)) {
        let nearest = mtl_task::nearest(name, tasks.iter().map(String::as_str));
        bail!("{}: no task `{name}`{nearest}; there are {}", at("epochs_of"), tasks.join(", "));
    }
    train.steps = 0;
    Ok(())
}

impl Recipe {
    /// The same recipe, in which `steps` stands for its epochs.
    ///
    /// # Errors
    /// If these are more than can be counted, or fewer than the schedule needs.
    pub(crate) fn with_steps(mut self, steps: f64) -> Result<Self> {
        let Some(epochs) = self.train.epochs.take() else { return Ok(self) };
        if steps > MOST {
            bail!("train.epochs = {epochs} are {steps:.0} steps; at most {MOST:.0} can be counted");
        }
        self.train.epochs_of = None;
        self.train.steps = (steps.ceil() as usize).max(1);
        schedule::check(&self.registries.schedules, &self.schedule, self.train.steps)
            .map_err(|error| error.context(format!("train.epochs = {epochs}, [schedule]")))?;
        Ok(self)
    }
}
