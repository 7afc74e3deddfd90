//! `touch RUN/save-now`: a checkpoint when somebody asks for one.

use std::fs;

use super::Run;
use crate::observer::Observer;

/// The file that asks.
pub(super) const SAVE_NOW: &str = "save-now";

impl Run {
    /// Whether somebody asks for a checkpoint.
    pub(super) fn is_save_asked(&self) -> bool {
        self.options.out.join(SAVE_NOW).exists()
    }

    /// Tells that the checkpoint is saved, and takes the request away. One that cannot be taken away is no reason to end a
    /// run of days: it saves after every step.
    pub(super) fn answer_save_asked(&self, observer: &mut dyn Observer) {
        let path = self.options.out.join(SAVE_NOW);
        let left = match fs::remove_file(&path) {
            Ok(()) => String::new(),
            Err(error) => format!("; {} cannot be removed and asks again: {error}", path.display()),
        };
        observer.note(&format!("saved after step {}, as {SAVE_NOW} asked{left}", self.state.step));
    }
}
