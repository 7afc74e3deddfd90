//! A run: from a recipe to a folder with checkpoints, metrics and a report.

mod answered;
pub(crate) mod budget;
mod clear;
mod dev;
mod divergence;
pub(crate) mod epochs;
mod explain;
mod findings;
mod given;
mod keep;
pub(crate) mod loader;
mod lock;
mod log;
mod open;
mod place;
mod race;
mod report;
mod save_now;
mod snapshots;
mod steps;
pub(crate) mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use mtl_data::Fingerprint;
use mtl_data::generator::Truth;
use mtl_eval::Report;
use mtl_sharing::Phase;
use mtl_task::{Answer, Label, TaskId};
use serde::{Deserialize, Serialize};

use crate::assemble::Assembled;
use crate::audit::audit_of;
use crate::finite::is_divergence;
use crate::memory;
use crate::observer::{Observer, Plan};
use crate::recipe::Recipe;
use crate::resume::{self, LAST, RunState};
use crate::store::write_atomically;
use divergence::Detector;
pub(crate) use divergence::TaskLosses;
pub use given::Spent;
use loader::DataLoader;
use lock::Lock;
pub use open::{Start, is_unfinished};
use race::Raced;
use report::Answering;

/// The report of a run that is over, and the lines of its steps.
pub(crate) const REPORT: &str = "report.json";
const METRICS: &str = "metrics.jsonl";

/// Where a run goes, and what it says of itself.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// What is done with the run that it holds.
    pub start: Start,
    /// The recipe's name, for the report.
    pub recipe_name: String,
    /// Whether the embedded recipe stands in for another one.
    pub fallback: bool,
    /// The source's commit, if known.
    pub commit: Option<String>,
    /// The device, in words.
    pub device_name: String,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// It is done.
    Finished(Box<Report>),
    /// It was interrupted behind this step; the checkpoint there goes on.
    Interrupted(usize),
}

/// All that a finished run knows of itself.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its report.
    pub report: Report,
    /// Its answers, task by task in the recipe's order: to test, or to dev if test is sealed.
    pub answered: Vec<Answered>,
    /// Every look at dev, in order.
    pub evaluations: Vec<EvaluationPoint>,
    /// Processor seconds of training, on all threads.
    pub cpu_seconds: f64,
    /// Milliseconds to answer one text on its own, mean over tasks and a sample of dev; none of a training that diverged.
    pub latency_ms: Option<f64>,
    /// What was loaded, by task: hashes of files and splits.
    pub data: BTreeMap<String, Fingerprint>,
    /// Why training diverged, if it did. The report and the answers are then those of the baselines, the constant answers
    /// that know the training examples' labels alone.
    pub diverged: Option<String>,
}

/// One task's examples and a run's answers to them.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The task.
    pub task: String,
    /// Names of its classes, labels or tags.
    pub names: Vec<String>,
    /// The best headline score that can be expected of any model, where it is known.
    pub ceiling: Option<f64>,
    /// The texts.
    pub texts: Vec<mtl_data::Texts>,
    /// Their truths.
    pub truths: Vec<Label>,
    /// The answers.
    pub answers: Vec<Answer>,
}

/// Headline scores at one moment of training, task by task in the recipe's order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPoint {
    /// Steps done.
    pub step: usize,
    /// On dev.
    pub dev: Vec<f64>,
    /// On as many training examples; empty unless `evaluation.train_curve` asks for it.
    pub train: Vec<f64>,
}

/// A run in progress.
pub struct Run {
    recipe: Recipe,
    options: RunOptions,
    checkpoint_name: String,
    pub(crate) assembled: Assembled,
    loader: DataLoader,
    phases: Vec<Phase>,
    state: RunState,
    /// What was found on the way to `state`.
    notes: Vec<String>,
    /// What is known of the tasks, if they are planted.
    truth: Option<Truth>,
    /// How the training went, as its strategy tells it, once it is over.
    chronicle: serde_json::Value,
    _lock: Lock,
}

impl Run {
    /// What was found on the way to where training starts, such as a damaged checkpoint that was passed over; told to the
    /// observer too, as notes of the [`Plan`].
    pub fn found(&self) -> &[String] {
        &self.notes
    }

    /// Everything the run works with.
    pub fn assembled(&self) -> &Assembled {
        &self.assembled
    }

    /// Trains to the end, or until the observer interrupts.
    ///
    /// # Errors
    /// If training diverges or something of it is not finite, a file cannot be written, or those of candle.
    pub fn execute(mut self, observer: &mut dyn Observer) -> Result<Ended> {
        if let Some(report) = self.reported()? {
            return Ok(Ended::Finished(Box::new(report)));
        }
        match self.train(observer).map_err(|error| self.explained(error))? {
            Some(step) => Ok(Ended::Interrupted(step)),
            None => Ok(Ended::Finished(Box::new(self.finish()?.0))),
        }
    }

    /// As [`Run::execute`], with everything that a comparison wants to know; `None` if the observer interrupted. A training
    /// that diverges is a result: what is left of it answers as each task's baseline does.
    ///
    /// # Errors
    /// As [`Run::execute`], divergence left aside.
    pub fn execute_recorded(mut self, observer: &mut dyn Observer) -> Result<Option<Finished>> {
        let ended = match self.train(observer) {
            Ok(Some(_)) => return Ok(None),
            Ok(None) => self.finish(),
            Err(error) => Err(error),
        };
        let (report, answers, diverged) = match ended {
            Ok((report, answers)) => (report, answers, None),
            Err(error) if is_divergence(&error) => {
                let why = format!("{error:#}");
                let (mut report, answers) = self.report(None, Answering::Baselines)?;
                report
                    .warnings
                    .push(format!("training has diverged, and the scores are those of the baselines: {why}"));
                self.write(&report)?;
                (report, answers, Some(why))
            }
            Err(error) => return Err(error),
        };
        let latency_ms = if diverged.is_none() { Some(self.latency()?) } else { None };
        let datasets = self.assembled.datasets.iter();
        Ok(Some(Finished {
            report,
            answered: self.answered(answers),
            data: datasets.map(|dataset| (dataset.name.clone(), dataset.fingerprint.clone())).collect(),
            evaluations: self.state.evaluations,
            cpu_seconds: self.state.cpu_seconds,
            latency_ms,
            diverged,
        }))
    }

    /// Trains to the end, or to the step that the observer interrupted behind.
    fn train(&mut self, observer: &mut dyn Observer) -> Result<Option<usize>> {
        let steps: usize = self.phases.iter().map(|phase| phase.steps).sum();
        self.fits()?;
        let (mut log, lost) = log::Log::open(&self.options.out.join(METRICS), self.state.step)?;
        let detector = Detector::new(&self.recipe.train, &self.assembled.trainer, &self.loader.first(&self.assembled));
        observer.begin(&Plan {
            tasks: self.assembled.datasets.iter().map(|dataset| dataset.name.clone()).collect(),
            steps,
            from: self.state.step,
            notes: self.notes(),
        });
        lost.iter().for_each(|note| observer.note(note));
        if self.state.step == 0 {
            for name in self.audit()? {
                observer.note(&format!("the gradient of `{name}` is all zero before the first step"));
            }
        }
        // A run that was killed between its stop and its end stays stopped.
        let (mut stopped, mut told) = (self.out_of_patience(), BTreeSet::new());
        while self.state.phase < self.phases.len() && !stopped {
            let phase = self.phases[self.state.phase].clone();
            if self.state.phase_step == 0 {
                Detector::begin_phase(&mut self.state.losses);
                self.enter(self.state.phase)?;
                self.warn(&mut told, observer)?;
                if phase.reset_optimizer {
                    self.assembled.trainer.optimizer.reset();
                }
            }
            while !self.is_over(&phase) && !stopped {
                observer.measure(self.state.step, steps, &self.assembled)?;
                let since = self.state.phase_step;
                let reports = match self.race(&phase, steps, &mut log, observer)? {
                    Raced::Nothing => vec![self.advance(&phase, steps, &mut log, observer)?],
                    Raced::Won(reports) => reports,
                    // The race is run again when training goes on.
                    Raced::Interrupted => {
                        log.flush()?;
                        self.save(LAST)?;
                        return Ok(Some(self.state.step));
                    }
                };
                let first = self.state.step - reports.len();
                for (at, report) in reports.iter().enumerate() {
                    detector.observe(&mut self.state.losses, first + at, report)?;
                }
                self.pay();
                stopped = self.look(&phase, since, &mut log, observer)?;
                let saving = match self.recipe.train.save_every {
                    0 => self.recipe.evaluation.every,
                    every => every,
                };
                let (interrupted, asked) = (observer.interrupted(), self.is_save_asked());
                let due = saving > 0 && self.state.step / saving > first / saving;
                if interrupted || asked || due && !Detector::is_suspect(&self.state.losses) {
                    log.flush()?;
                    self.save(LAST)?;
                }
                if asked {
                    self.answer_save_asked(observer);
                }
                if interrupted && self.state.step < steps && !stopped {
                    return Ok(Some(self.state.step));
                }
            }
            self.state.phase += 1;
            (self.state.phase_step, self.state.phase_charged) = (0, 0);
        }
        log.flush()?;
        self.enter(self.phases.len())?;
        self.warn(&mut told, observer)?;
        observer.measure(self.state.step, steps, &self.assembled)?;
        self.save(LAST)?;
        Ok(None)
    }

    /// Refuses a training that cannot fit into memory.
    fn fits(&self) -> Result<()> {
        if self.state.phase >= self.phases.len() || !self.assembled.trainer.model.params.device().is_cpu() {
            return Ok(());
        }
        let sizes = memory::Sizes::of(&self.recipe, &self.assembled, &self.loader, &self.phases)?;
        memory::check(&sizes, memory::available())
    }

    /// Tells the strategy's warnings that were not `told` yet.
    fn warn(&self, told: &mut BTreeSet<String>, observer: &mut dyn Observer) -> Result<()> {
        for warning in self.assembled.trainer.model.sharing.warnings()? {
            if !told.contains(&warning) {
                observer.note(&warning);
                told.insert(warning);
            }
        }
        Ok(())
    }

    /// Every trainable parameter must have a gradient before the first step.
    fn audit(&self) -> Result<Vec<String>> {
        let trainer = &self.assembled.trainer;
        let mut batches = self.loader.first(&self.assembled);
        batches.retain(|batch| trainer.is_learnable(batch));
        let tasks: Vec<TaskId> = batches.iter().map(|batch| batch.task).collect();
        audit_of(&trainer.model, &tasks, &trainer.gradients(&batches)?)
    }

    fn save(&self, name: &str) -> Result<()> {
        resume::save(&self.options.out.join("checkpoints"), name, &self.assembled.trainer, &self.state)
    }

    /// Scores the kept weights on dev, and on test if it is to be opened, and writes the report. Answers also what was
    /// answered.
    fn finish(&mut self) -> Result<(Report, Vec<Vec<Answer>>)> {
        self.chronicle = self.assembled.trainer.model.sharing.chronicle()?;
        let best_step = self.take_back()?;
        let (report, answers) = self.report(best_step, Answering::Model)?;
        self.write(&report)?;
        Ok((report, answers))
    }

    fn write(&self, report: &Report) -> Result<()> {
        let out: &Path = &self.options.out;
        write_atomically(&out.join(REPORT), &serde_json::to_vec_pretty(report)?)?;
        write_atomically(&out.join("report.md"), report.to_markdown(&self.recipe.registries.metrics).as_bytes())
    }

    fn notes(&self) -> Vec<String> {
        let sizes = |dataset: &mtl_data::Dataset| {
            format!(
                "{}: {} to train on, {} dev",
                dataset.name,
                dataset.train.examples.len(),
                dataset.dev.examples.len()
            )
        };
        let datasets = self.assembled.datasets.iter();
        let of_data = datasets.flat_map(|d| std::iter::once(sizes(d)).chain(d.notes.iter().cloned()));
        self.notes.iter().cloned().chain(of_data).collect()
    }

    fn named(&self, scores: &[f64]) -> BTreeMap<String, f64> {
        self.assembled.datasets.iter().map(|dataset| dataset.name.clone()).zip(scores.iter().copied()).collect()
    }
}
