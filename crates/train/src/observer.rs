//! Who watches a run.

use std::collections::BTreeMap;

use crate::{Assembled, StepReport};

/// What is about to be trained.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Task names.
    pub tasks: Vec<String>,
    /// Steps in all.
    pub steps: usize,
    /// Where training starts: 0, or where a checkpoint left it.
    pub from: usize,
    /// Lines worth reading before it begins: sizes, parameters, notes of the loaders.
    pub notes: Vec<String>,
}

/// Told what happens, as it happens.
pub trait Observer {
    /// Training is about to begin.
    fn begin(&mut self, _plan: &Plan) {}
    /// Step `step` of `of` is done, at learning rate `rate`.
    fn step(&mut self, _step: usize, _of: usize, _rate: f64, _report: &StepReport) {}
    /// Headline scores on dev by task, after `step` steps.
    fn evaluated(&mut self, _step: usize, _scores: &BTreeMap<String, f64>, _best: bool) {}
    /// Before every step, and once behind the last: the model as it stands after `step` of `of` steps. Whoever changes
    /// a parameter to measure something puts its bits back.
    ///
    /// # Errors
    /// Those of what is measured; they end the run.
    fn measure(&mut self, _step: usize, _of: usize, _assembled: &Assembled) -> anyhow::Result<()> {
        Ok(())
    }
    /// Something worth a line.
    fn note(&mut self, _line: &str) {}
    /// Whether to stop after this step, with a checkpoint to resume from.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
