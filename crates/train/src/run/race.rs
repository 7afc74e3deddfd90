//! Races between two steps: every arm trains from the same state on the same batches, the strategy says who wins, and the
//! others' steps are charged.
//!
//! Arms run one after the other, each from a state in memory. No checkpoint is made inside a race: a run that is stopped
//! or killed in one goes on from before it and runs it again, with the same bits, for batches and dropout are functions of
//! the step.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use cpu_time::ProcessTime;
use mtl_sharing::{Phase, Race, Ruling, Standings};

use super::{Run, log};
use crate::StepReport;
use crate::captured::Captured;
use crate::dev::DevSplits;
use crate::finite::is_divergence;
use crate::observer::Observer;

/// What came of asking for a race.
pub(super) enum Raced {
    /// No race is due.
    Nothing,
    /// The model is what the winner came to, by these steps.
    Won(Vec<StepReport>),
    /// The observer stopped it; the model is as before.
    Interrupted,
}

/// An arm that runs.
#[derive(Default)]
struct Runner {
    /// What it came to so far; none before its first step.
    now: Option<Captured>,
    /// Its steps, each with its learning rate and seconds.
    steps: Vec<(StepReport, f64, f64)>,
    /// Why it stopped, if it diverged.
    diverged: Option<anyhow::Error>,
}

/// What a race cost.
#[derive(Default)]
struct Cost {
    steps: usize,
    examples: usize,
}

impl Run {
    /// Runs the race that is due, if one is.
    pub(super) fn race(
        &mut self,
        phase: &Phase,
        steps: usize,
        log: &mut log::Log,
        observer: &mut dyn Observer,
    ) -> Result<Raced> {
        let Some(race) = self.assembled.trainer.race_due()? else { return Ok(Raced::Nothing) };
        let (started, processor) = (Instant::now(), ProcessTime::now());
        let start = self.assembled.trainer.capture()?;
        let mut runners: BTreeMap<usize, Runner> = (0..race.arms.len()).map(|arm| (arm, Runner::default())).collect();
        let (mut cost, mut rulings, mut done) = (Cost::default(), Vec::new(), 0);
        for &look in &race.looks {
            let mut standings = Standings { steps: look, losses: BTreeMap::new() };
            for (&arm, runner) in &mut runners {
                if runner.diverged.is_some() {
                    continue;
                }
                self.assembled.trainer.put_back(runner.now.as_ref().unwrap_or(&start), self.state.phase)?;
                if runner.now.is_none() {
                    let splits = DevSplits { datasets: &self.assembled.datasets, batch: self.recipe.evaluation.batch };
                    cost.examples += self.assembled.trainer.set_off(&race, arm, &splits)?;
                }
                for ahead in done..look {
                    if observer.interrupted() {
                        self.assembled.trainer.put_back(&start, self.state.phase)?;
                        self.assembled.trainer.budget.steps = self.state.step;
                        return Ok(Raced::Interrupted);
                    }
                    cost.steps += 1;
                    let begun = Instant::now();
                    match self.take_step(phase, steps, ahead) {
                        Ok((report, rate)) => runner.steps.push((report, rate, begun.elapsed().as_secs_f64())),
                        Err(error) if is_divergence(&error) => {
                            runner.diverged = Some(error);
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                }
                if runner.diverged.is_none() {
                    standings.losses.insert(arm, self.losses(&race, &mut cost)?);
                    runner.now = Some(self.assembled.trainer.capture()?);
                }
            }
            if standings.losses.is_empty() {
                let diverged = runners.into_values().find_map(|runner| runner.diverged);
                return Err(diverged.context("a race without an arm")?);
            }
            let ruling = self.assembled.trainer.judge(&race, &standings)?;
            runners.retain(|arm, runner| runner.diverged.is_none() && ruling.keep.contains(arm));
            rulings.push(ruling);
            done = look;
        }
        let (_, winner) = runners.pop_first().context("a race without a winner")?;
        let won = self.finish_race(&race, &rulings, winner, &cost)?;
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.cpu_seconds += processor.elapsed().as_secs_f64();
        let mut reports = Vec::with_capacity(won.len());
        for (report, rate, seconds) in won {
            self.keep_step(phase, rate, seconds, &report, log)?;
            observer.step(self.state.step, steps, rate, &report);
            reports.push(report);
        }
        Ok(Raced::Won(reports))
    }

    /// The losses on dev of the model as it is.
    fn losses(&mut self, race: &Race, cost: &mut Cost) -> Result<Vec<Vec<f64>>> {
        let splits = DevSplits { datasets: &self.assembled.datasets, batch: self.recipe.evaluation.batch };
        let losses = self.assembled.trainer.sampled_losses(race.held_out, &splits)?;
        cost.examples += losses.iter().map(Vec::len).sum::<usize>();
        Ok(losses)
    }

    /// Goes on from the winner, and charges what it did not cost itself; returns its steps.
    fn finish_race(
        &mut self,
        race: &Race,
        rulings: &[Ruling],
        winner: Runner,
        cost: &Cost,
    ) -> Result<Vec<(StepReport, f64, f64)>> {
        let trainer = &mut self.assembled.trainer;
        trainer.put_back(&winner.now.context("a winner that took no step")?, self.state.phase)?;
        let charged = cost.steps - winner.steps.len() + trainer.budget.forward(cost.examples);
        trainer.budget.steps = self.state.step + winner.steps.len();
        trainer.budget.charge(charged);
        let event = trainer.conclude(race, rulings, charged)?;
        let mut steps = winner.steps;
        if let Some((report, ..)) = steps.last_mut() {
            report.events.push(event);
        }
        Ok(steps)
    }
}
