//! A run: from a recipe to a folder with checkpoints, metrics and a report.

mod answered;
mod dev;
mod keep;
pub(crate) mod loader;
mod lock;
mod log;
mod report;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use cpu_time::ProcessTime;
use mtl_eval::Report;
use mtl_sharing::Phase;
use mtl_task::{Answer, Label, Progress, TaskId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::assemble::{Assembled, Located, assemble_as};
use crate::audit::audit_of;
use crate::dev::DevSplits;
use crate::memory;
use crate::observer::{Observer, Plan};
use crate::recipe::{Keep, Recipe};
use crate::resume::{self, LAST, RunState};
use crate::schedule;
use crate::store::write_atomically;
use crate::trained_on::TrainedOn;
use loader::DataLoader;
use lock::Lock;
use stored::Stored;

/// Where a run goes, and what it says of itself.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run folder.
    pub out: PathBuf,
    /// Whether to go on from the last checkpoint in it.
    pub resume: bool,
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
    /// Milliseconds to answer one text on its own, mean over tasks and a sample of dev.
    pub latency_ms: f64,
}

/// One task's examples and a run's answers to them.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The task.
    pub task: String,
    /// Names of its classes, labels or tags.
    pub names: Vec<String>,
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
    _lock: Lock,
}

impl Run {
    /// Builds everything a recipe names, and goes on from a checkpoint if asked.
    ///
    /// # Errors
    /// If something does not fit, or the run folder holds another run or another process trains in it.
    pub fn new(recipe: Recipe, located: &Located, options: RunOptions, device: &Device) -> Result<Self> {
        let lock = Lock::take(&options.out)?;
        let Stored { recipe, text: resolved, note } = match options.resume {
            true => Stored::continued(recipe, &options.out)?,
            false => Stored::new(recipe)?,
        };
        let fingerprint = resume::hex(&Sha256::digest(resolved.as_bytes()));
        // A run of another recipe is refused below, whatever its data.
        let same = std::fs::read_to_string(options.out.join("recipe.toml")).is_ok_and(|stored| stored == resolved);
        let trained_on = if options.resume && same { TrainedOn::read(&options.out)? } else { None };
        let mut assembled = assemble_as(&recipe, located, device, trained_on.as_ref())?;
        let loader = DataLoader::new(&recipe, &assembled, device)?;
        let phases = assembled.trainer.model.sharing.phases(recipe.train.steps);
        let checkpoints = options.out.join("checkpoints");
        resume::sweep(&[&options.out, &options.out.join("encoder")])?;
        resume::settle(&checkpoints)?;
        let found = match options.resume {
            true => resume::restore_last(&checkpoints, &mut assembled.trainer)?,
            false => None,
        };
        let (state, mut notes) = match (options.resume, found) {
            (true, Some(found)) if found.state.recipe != fingerprint => bail!(
                "{}: the checkpoint is of another recipe; resume with the recipe in {}, or choose another --out",
                found.checkpoint.display(),
                options.out.join("recipe.toml").display()
            ),
            (true, Some(found)) => (found.state, found.notes),
            (true, None) => bail!("{}: no checkpoint to resume from", checkpoints.display()),
            (false, _) if resume::find(&checkpoints, LAST).is_some() => bail!(
                "{}: already holds a run; add --resume to go on with it, or choose another --out",
                options.out.display()
            ),
            (false, _) => (RunState { recipe: fingerprint, ..RunState::default() }, Vec::new()),
        };
        notes.extend(note);
        let checkpoint_name = located.model.name.clone();
        let run = Self { checkpoint_name, recipe, options, assembled, loader, phases, state, notes, _lock: lock };
        run.describe(&resolved)?;
        Ok(run)
    }

    /// Everything the run works with.
    pub fn assembled(&self) -> &Assembled {
        &self.assembled
    }

    /// Writes what the folder needs to be understood without this run: recipe, tasks, encoder and tokenizer.
    fn describe(&self, resolved: &str) -> Result<()> {
        let out = &self.options.out;
        write_atomically(&out.join("recipe.toml"), resolved.as_bytes())?;
        TrainedOn::of(&self.assembled.datasets).write(out)?;
        let pretrained = &self.assembled.pretrained;
        let mut config = pretrained.config.clone();
        config["model_type"] = pretrained.architecture.clone().into();
        write_atomically(&out.join("encoder/config.json"), &serde_json::to_vec_pretty(&config)?)?;
        write_atomically(&out.join("encoder/tokenizer.json"), self.assembled.tokenizer.to_json()?.as_bytes())
    }

    /// Trains to the end, or until the observer interrupts.
    ///
    /// # Errors
    /// If a loss or gradient is not finite, a file cannot be written, or those of candle.
    pub fn execute(mut self, observer: &mut dyn Observer) -> Result<Ended> {
        if let Some(report) = self.reported()? {
            return Ok(Ended::Finished(Box::new(report)));
        }
        match self.train(observer)? {
            Some(step) => Ok(Ended::Interrupted(step)),
            None => Ok(Ended::Finished(Box::new(self.finish()?.0))),
        }
    }

    /// As [`Run::execute`], with everything that a comparison wants to know; `None` if the observer interrupted.
    ///
    /// # Errors
    /// As [`Run::execute`].
    pub fn execute_recorded(mut self, observer: &mut dyn Observer) -> Result<Option<Finished>> {
        if self.train(observer)?.is_some() {
            return Ok(None);
        }
        let (report, answers, run) = self.finish()?;
        let (answered, latency_ms) = (run.answered(answers), run.latency()?);
        Ok(Some(Finished {
            report,
            answered,
            evaluations: run.state.evaluations,
            cpu_seconds: run.state.cpu_seconds,
            latency_ms,
        }))
    }

    /// The report of a run that is over, so that going on with it does not open the test split once more.
    fn reported(&self) -> Result<Option<Report>> {
        let path = self.options.out.join("report.json");
        if self.state.phase < self.phases.len() || !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).map(Some).with_context(|| format!("{}: no report", path.display()))
    }

    /// Trains to the end, or to the step that the observer interrupted behind.
    fn train(&mut self, observer: &mut dyn Observer) -> Result<Option<usize>> {
        let steps: usize = self.phases.iter().map(|phase| phase.steps).sum();
        self.fits()?;
        let mut log = log::Log::open(&self.options.out.join("metrics.jsonl"), self.state.step)?;
        observer.begin(&Plan {
            tasks: self.assembled.datasets.iter().map(|dataset| dataset.name.clone()).collect(),
            steps,
            from: self.state.step,
            notes: self.notes(),
        });
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
                self.enter(self.state.phase)?;
                self.warn(&mut told, observer)?;
                if phase.reset_optimizer {
                    self.assembled.trainer.optimizer.reset();
                }
            }
            while self.state.phase_step < phase.steps && !stopped {
                observer.measure(self.state.step, steps, &self.assembled)?;
                self.advance(&phase, steps, &mut log, observer)?;
                stopped = self.look(&phase, observer)?;
                let saving = match self.recipe.train.save_every {
                    0 => self.recipe.evaluation.every,
                    every => every,
                };
                let interrupted = observer.interrupted();
                if interrupted || (saving > 0 && self.state.step.is_multiple_of(saving)) {
                    log.flush()?;
                    self.save(LAST)?;
                }
                if interrupted && self.state.step < steps && !stopped {
                    return Ok(Some(self.state.step));
                }
            }
            self.state.phase += 1;
            self.state.phase_step = 0;
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

    /// One step of `phase`.
    fn advance(&mut self, phase: &Phase, steps: usize, log: &mut log::Log, observer: &mut dyn Observer) -> Result<()> {
        let (started, processor) = (Instant::now(), ProcessTime::now());
        let (at, of) = match phase.reset_optimizer {
            true => (self.state.phase_step, phase.steps),
            false => (self.state.step, steps),
        };
        let factor = schedule::factor(&self.recipe.registries.schedules, &self.recipe.schedule, at, of)?;
        let rate = self.recipe.base_rate()? * factor;
        let progress = Progress { step: self.state.step, of: steps };
        let batches = self.loader.mini_batches(&self.assembled, self.state.step, phase)?;
        let splits = DevSplits { datasets: &self.assembled.datasets, batch: self.recipe.evaluation.batch };
        let report = self.assembled.trainer.step(&batches, progress, rate, &splits)?;
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.cpu_seconds += processor.elapsed().as_secs_f64();
        self.state.tokens += report.tokens as u64;
        report.outcomes.iter().for_each(|(status, _)| *self.state.outcomes.entry(status.clone()).or_default() += 1);
        log.step(self.state.step, &phase.name, rate, started.elapsed().as_secs_f64(), &report)?;
        self.state.step += 1;
        self.state.phase_step += 1;
        observer.step(self.state.step, steps, rate, &report);
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

    /// Looks at dev where it is due; answers whether to stop.
    fn look(&mut self, phase: &Phase, observer: &mut dyn Observer) -> Result<bool> {
        let every = self.recipe.evaluation.every;
        let last = self.state.phase_step == phase.steps;
        let final_phase = self.state.phase + 1 == self.phases.len();
        if !final_phase || !(last || (every > 0 && self.state.phase_step.is_multiple_of(every))) {
            return Ok(false);
        }
        let look = self.scores()?;
        let scores = self.named(&look.dev);
        self.state.evaluations.push(look);
        if self.recipe.evaluation.keep_evaluations {
            self.save(&format!("step-{}", self.state.step))?;
        }
        if self.recipe.evaluation.keep == Keep::Each {
            self.keep_each()?;
        }
        let mean = scores.values().sum::<f64>() / scores.len().max(1) as f64;
        let better = self.state.best.is_none_or(|(best, _)| mean > best);
        observer.evaluated(self.state.step, &scores, better);
        if better {
            self.state.best = Some((mean, self.state.step));
            self.state.stale = 0;
            self.save("best")?;
        } else {
            self.state.stale += 1;
        }
        Ok(self.out_of_patience())
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.recipe.evaluation.patience;
        patience > 0 && self.state.stale >= patience
    }

    fn save(&self, name: &str) -> Result<()> {
        resume::save(&self.options.out.join("checkpoints"), name, &self.assembled.trainer, &self.state)
    }

    /// Scores the kept weights on dev, and on test if it is to be opened, and writes the report.
    fn finish(mut self) -> Result<(Report, Vec<Vec<Answer>>, Self)> {
        let best_step = self.take_back()?;
        let (report, answers) = self.report(best_step)?;
        let out: &Path = &self.options.out;
        write_atomically(&out.join("report.json"), &serde_json::to_vec_pretty(&report)?)?;
        write_atomically(&out.join("report.md"), report.to_markdown(&self.recipe.registries.metrics).as_bytes())?;
        Ok((report, answers, self))
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
