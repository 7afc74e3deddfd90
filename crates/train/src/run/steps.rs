//! The steps of a run, and what of its budget they leave.

use std::time::Instant;

use anyhow::Result;
use cpu_time::ProcessTime;
use mtl_sharing::Phase;
use mtl_task::Progress;

use super::{Run, log};
use crate::dev::DevSplits;
use crate::observer::Observer;
use crate::{StepReport, schedule};

impl Run {
    /// One step of `phase`.
    pub(super) fn advance(
        &mut self,
        phase: &Phase,
        steps: usize,
        log: &mut log::Log,
        observer: &mut dyn Observer,
    ) -> Result<StepReport> {
        let (started, processor) = (Instant::now(), ProcessTime::now());
        let (report, rate) = self.take_step(phase, steps, 0)?;
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.cpu_seconds += processor.elapsed().as_secs_f64();
        self.keep_step(phase, rate, started.elapsed().as_secs_f64(), &report, log)?;
        observer.step(self.state.step, steps, rate, &report);
        Ok(report)
    }

    /// Takes the step of `phase` that is `ahead` of where the run stands; returns also its learning rate.
    pub(super) fn take_step(&mut self, phase: &Phase, steps: usize, ahead: usize) -> Result<(StepReport, f64)> {
        // The schedule follows what was spent, so that it ends where the budget does.
        let (at, of) = match phase.reset_optimizer {
            true => (self.state.phase_step + self.state.phase_charged, phase.steps),
            false => (self.state.step + self.state.charged, steps),
        };
        let factor = schedule::factor(&self.recipe.registries.schedules, &self.recipe.schedule, at + ahead, of)?;
        let rate = self.recipe.base_rate()? * factor;
        let step = self.state.step + ahead;
        let batches = self.loader.mini_batches(&self.assembled, step, phase)?;
        let splits = DevSplits { datasets: &self.assembled.datasets, batch: self.recipe.evaluation.batch };
        let report = self.assembled.trainer.step(&batches, Progress { step, of: steps }, rate, &splits)?;
        Ok((report, rate))
    }

    /// Writes down a step that the model has taken.
    pub(super) fn keep_step(
        &mut self,
        phase: &Phase,
        rate: f64,
        seconds: f64,
        report: &StepReport,
        log: &mut log::Log,
    ) -> Result<()> {
        self.state.tokens += report.tokens as u64;
        report.outcomes.iter().for_each(|(status, _)| *self.state.outcomes.entry(status.clone()).or_default() += 1);
        log.step(self.state.step, &phase.name, rate, seconds, report)?;
        self.state.step += 1;
        self.state.phase_step += 1;
        Ok(())
    }

    /// Books what the strategy charged since it was asked last.
    pub(super) fn pay(&mut self) {
        let charged = self.assembled.trainer.budget.charged;
        self.state.phase_charged += charged.saturating_sub(self.state.charged);
        self.state.charged = charged;
    }
}
