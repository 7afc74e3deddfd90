//! Interactions between tasks while they train: gradient conflict, affinity, and how alike their states are.
//!
//! A [`Diagnostics`] watches a [`crate::Run`] and measures every so many steps:
//!
//! - the conflict map: for each pair and each shared part the cosine of the true gradients, ρ = c̄ᵢⱼ / √(r̄ᵢ·r̄ⱼ), freed
//!   of noise by independent half-batches ([`mtl_eval::recovery::corrected_cosine`]);
//! - for tables such as the word vectors, how row_conflict their rows are: whether two tasks move the same rows, and want
//!   the same rows moved alike ([`mtl_eval::recovery::row_conflict`]), which does not depend on where private heads point;
//! - affinity: Z_{i→j} = 1 − ℓⱼ(θ − η·gᵢ)/ℓⱼ(θ), and the grouping that it asks for (Fifty et al. 2021);
//! - at the end, linear CKA between the tasks' states on the same texts (Kornblith et al. 2019).
//!
//! A measurement costs `mini_batches`·K forwards and backwards and K² + K forwards beside the step, each of `examples`
//! examples, and the memory of `mini_batches`·K gradients. Half-batches come from the training examples in an order of their
//! own, so that they are independent of each other and of the step. Training goes on bit for bit as if nobody looked.

mod affinity;
mod conflict;
mod diagnosis;
mod recovery;
mod row_conflict;
mod similarity;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_data::Sampler;
use mtl_task::{TaskBatch, TaskId};
use serde::{Deserialize, Serialize};

use crate::{Assembled, Observer, Plan, StepReport};
use conflict::Conflict;
pub use diagnosis::{Cosine, Cost, Diagnosis, Grouping, Pair, RowConflict, Similarity};
pub use mtl_sharing::grouping;
pub use recovery::{Recovery, planted, recovery};
pub use similarity::linear_cka;

/// What is measured, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Steps between two measurements, at least 1.
    pub every: usize,
    /// The first step that may be measured: gradients of the first steps say how new heads learn, not how tasks relate.
    pub from: usize,
    /// Independent half-batches a task, at least 2; tables are judged from 4 on.
    pub mini_batches: usize,
    /// Examples in each of them.
    pub examples: usize,
    /// η, the look-ahead's learning rate, a plain gradient step on the shared parameters.
    pub rate: f64,
    /// Most groups that tasks are divided into.
    pub groups: usize,
    /// Training texts of each task that all tasks' states are compared on.
    pub texts: usize,
    /// Coverage of the intervals.
    pub confidence: f64,
    /// Least agreement of a task's own half-batches for its cosines to be given.
    pub reliability: f64,
    /// Names the half-batches.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every: 5,
            from: 0,
            mini_batches: 4,
            examples: 16,
            rate: 1e-3,
            groups: 3,
            texts: 16,
            confidence: 0.95,
            reliability: 0.05,
            seed: 0,
        }
    }
}

impl Settings {
    /// # Errors
    /// Names the setting that is out of range.
    pub fn check(&self) -> Result<()> {
        let least = [
            ("every", self.every, 1),
            ("mini_batches", self.mini_batches, 2),
            ("examples", self.examples, 1),
            ("groups of tasks", self.groups, 1),
            ("texts", self.texts, 1),
        ];
        if let Some((name, found, least)) = least.into_iter().find(|(_, found, least)| found < least) {
            bail!("`{name}` must be at least {least}, found {found}");
        }
        if !(self.rate > 0. && self.rate.is_finite()) {
            bail!("`rate` must be above 0, found {}", self.rate);
        }
        for (name, value) in [("confidence", self.confidence), ("reliability", self.reliability)] {
            if !(value > 0. && value < 1.) {
                bail!("`{name}` must lie between 0 and 1, found {value}");
            }
        }
        Ok(())
    }
}

/// Measures while a run trains, and passes everything on to another observer.
pub struct Diagnostics<'a> {
    settings: Settings,
    beside: &'a mut dyn Observer,
    tasks: Vec<String>,
    conflict: Conflict,
    /// `[measurement][i][j]`: Z of i onto j.
    affinity: Vec<Vec<Vec<f64>>>,
    similarity: Vec<Similarity>,
    findings: serde_json::Value,
    steps: usize,
}

impl<'a> Diagnostics<'a> {
    /// # Errors
    /// If a setting is out of range.
    pub fn new(settings: Settings, beside: &'a mut dyn Observer) -> Result<Self> {
        settings.check()?;
        Ok(Self {
            settings,
            beside,
            tasks: Vec::new(),
            conflict: Conflict::default(),
            affinity: Vec::new(),
            similarity: Vec::new(),
            findings: serde_json::Value::Null,
            steps: 0,
        })
    }

    /// What was found.
    ///
    /// # Errors
    /// If there were too few measurements for an interval.
    pub fn diagnosis(self) -> Result<Diagnosis> {
        diagnosis::of(self)
    }

    /// The half-batches of measurement `index`, `[draw][task]`.
    fn batches(&self, index: usize, assembled: &Assembled) -> Result<Vec<Vec<TaskBatch>>> {
        let Settings { mini_batches, examples, .. } = self.settings;
        let sizes: Vec<usize> = assembled.datasets.iter().map(|dataset| dataset.train.examples.len()).collect();
        if let Some(task) = sizes.iter().position(|&size| size < 2 * examples) {
            bail!(
                "task `{}` has {} training examples; two half-batches of {examples} need {}",
                assembled.datasets[task].name,
                sizes[task],
                2 * examples
            );
        }
        // Another seed than the run's own walk through the data.
        let seed = self.settings.seed ^ 0x6469_6167;
        let sampler = Sampler::new(&mtl_data::samplers::uniform::SAMPLER, &serde_json::json!({}), &sizes, seed)?;
        let packed = assembled.trainer.model.params.device().is_cpu();
        let batch = |draw: usize, task: usize| {
            let chosen = sampler.examples(TaskId(task), index * mini_batches + draw, examples);
            let split = &assembled.datasets[task].train;
            mtl_data::collate(TaskId(task), chosen.iter().map(|&at| &split.examples[at]), packed)
        };
        Ok((0..mini_batches).map(|draw| (0..sizes.len()).map(|task| batch(draw, task)).collect()).collect())
    }
}

impl Observer for Diagnostics<'_> {
    fn begin(&mut self, plan: &Plan) {
        self.tasks = plan.tasks.clone();
        self.beside.begin(plan);
    }

    fn step(&mut self, step: usize, of: usize, rate: f64, report: &StepReport) {
        self.beside.step(step, of, rate, report);
    }

    fn evaluated(&mut self, step: usize, scores: &BTreeMap<String, f64>, best: bool) {
        self.beside.evaluated(step, scores, best);
    }

    fn measure(&mut self, step: usize, of: usize, assembled: &Assembled) -> Result<()> {
        self.beside.measure(step, of, assembled)?;
        self.steps = step;
        if step >= of {
            self.similarity = similarity::between(assembled, self.settings.texts)?;
            self.findings = assembled.trainer.model.sharing.findings()?;
        } else if step >= self.settings.from && (step - self.settings.from).is_multiple_of(self.settings.every) {
            let batches = self.batches(self.affinity.len(), assembled)?;
            let mini_batches = conflict::gradients(&assembled.trainer, &batches, step)?;
            self.conflict.add(&assembled.trainer.model, &mini_batches);
            let (learnt, judged) = (&mini_batches[0], &batches[batches.len() - 1]);
            self.affinity.push(affinity::look_ahead(&assembled.trainer, learnt, judged, step, self.settings.rate)?);
        }
        Ok(())
    }

    fn note(&mut self, line: &str) {
        self.beside.note(line);
    }

    fn interrupted(&self) -> bool {
        self.beside.interrupted()
    }
}

#[cfg(test)]
mod tests;
