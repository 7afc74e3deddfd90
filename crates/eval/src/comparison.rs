//! Many runs compared: arms (a strategy under a rule, with everything else equal) over seeds and tasks.
//!
//! A [`RunRecord`] is what one finished run leaves; [`Comparison`] is what all of them say together, everything that a
//! report shows and nothing that it would have to compute.

mod arm;
mod curves;
mod examples;
mod record;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod warnings;

pub use record::{ArmSpec, Curve, Point, Role, RunRecord, Sampled, TaskRecord};

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use mtl_task::rng::Key;
use serde::{Deserialize, Serialize};

use crate::stats::{Interval, Nemenyi, TestResult, friedman, nemenyi};
use crate::transfer::{Gain, Overfitting};
use table::Table;

use crate::Metrics;

/// What a comparison is asked to compare.
#[derive(Clone, Debug)]
pub struct Question {
    /// The experiment's name.
    pub name: String,
    /// What the experiment asks.
    pub about: String,
    /// The arms, in any order.
    pub arms: Vec<ArmSpec>,
    /// The name of the arm that every other one is compared with.
    pub baseline: String,
    /// The tasks, in the order they are to be shown.
    pub tasks: Vec<String>,
    /// The seeds, which pair the arms.
    pub seeds: Vec<u64>,
    /// Level of every test; intervals cover 1 − `level`.
    pub level: f64,
    /// Resamples of the paired bootstrap.
    pub resamples: usize,
    /// Where the bootstrap's randomness comes from.
    pub key: Key,
    /// What differs between seeds.
    pub sampled: Sampled,
}

/// Steps a task below which a comparison is a pilot.
pub const PILOT_STEPS: usize = 300;
/// Seeds below which a comparison is a pilot.
pub const PILOT_SEEDS: usize = 5;

/// The whole of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The experiment's name and its own words on what it asks.
    pub name: String,
    /// What the experiment asks.
    pub about: String,
    /// Set if this is a pilot: why no conclusion may be drawn from it.
    pub pilot: Option<String>,
    /// The arm that every other one is compared with.
    pub baseline: String,
    /// The tasks, in the experiment's order.
    pub tasks: Vec<TaskFacts>,
    /// The seeds, which pair the arms.
    pub seeds: Vec<u64>,
    /// The arms, the baseline first.
    pub arms: Vec<ArmResult>,
    /// Friedman's test over tasks as blocks (never seeds), headline scores averaged over seeds.
    pub friedman: Option<TestResult>,
    /// Mean ranks of the arms, in their order, with Nemenyi's critical difference. Arms at the end that do not answer
    /// every task are not among them.
    pub nemenyi: Option<Nemenyi>,
    /// The metrics of which less is better, among those of [`ArmTask::metrics`].
    #[serde(default)]
    pub lower_is_better: BTreeSet<String>,
    /// Level of every test and interval, such as 0.05.
    pub level: f64,
    /// When the test splits were opened first, RFC 3339; null if they are sealed.
    pub test_opened_at: Option<String>,
    /// What was run and with what: commit, device, command.
    pub provenance: BTreeMap<String, String>,
    /// Sentences that a reader has to see, such as arms without a finished run.
    pub warnings: Vec<String>,
}

impl Comparison {
    /// What `records`, scored by `metrics`, say of `question`: final runs, in any order. Runs of arms, tasks or seeds that the question does
    /// not name are passed over.
    ///
    /// Arms stand in the question's order, the baseline first and those that do not answer every task (as controls with
    /// spoilt tasks) last: these are not ranked. So the methods of [`Comparison::nemenyi`] are the first arms. Reasons of
    /// broken runs, tuning costs and provenance are the caller's to add.
    ///
    /// # Errors
    /// If the baseline is no arm or has no record, a level is not in (0, 1), or two arms answered different examples of
    /// a task.
    pub fn of(metrics: &Metrics, question: &Question, records: &[RunRecord]) -> Result<Self> {
        if !(question.level > 0. && question.level < 1.) {
            bail!("the level must lie between 0 and 1, found {}", question.level);
        }
        let table = Table::new(metrics, question, records)?;
        let tasks = table.facts()?;
        let mut arms: Vec<ArmResult> = table.arms.iter().map(|arm| arm::result(&table, arm)).collect::<Result<_>>()?;
        let ranked = table.arms.iter().take_while(|arm| table.is_whole(arm)).count();
        let blocks: Vec<Vec<f64>> = (0..tasks.len())
            .map(|task| arms[..ranked].iter().filter_map(|arm| arm.tasks[task].mean).collect())
            .collect();
        // A single block, or a single arm, ranks nothing.
        let rankable = ranked > 1 && blocks.len() > 1;
        let nemenyi = if rankable { nemenyi(&blocks, question.level)? } else { None };
        if let Some(nemenyi) = &nemenyi {
            arms.iter_mut().zip(&nemenyi.mean_ranks).for_each(|(arm, rank)| arm.mean_rank = Some(*rank));
        }
        let lower = |name: &&String| metrics.find(name).is_ok_and(|metric| !metric.higher_is_better());
        let scored = arms.iter().flat_map(|arm| &arm.tasks).flat_map(|task| task.metrics.keys());
        let lower_is_better = scored.filter(lower).cloned().collect();
        Ok(Self {
            name: question.name.clone(),
            about: question.about.clone(),
            pilot: warnings::pilot(&table),
            baseline: question.baseline.clone(),
            tasks,
            seeds: question.seeds.clone(),
            arms,
            friedman: if rankable { Some(friedman(&blocks)?) } else { None },
            nemenyi,
            lower_is_better,
            level: question.level,
            test_opened_at: table.records().filter_map(|record| record.test_opened_at.clone()).min(),
            provenance: BTreeMap::new(),
            warnings: warnings::all(&table),
        })
    }
}

/// A task and how it is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The headline metric, higher being better.
    pub headline: String,
    /// Examples to train on, to choose by, and to report on.
    pub sizes: [usize; 3],
    /// Score of the baseline.
    pub trivial: f64,
}

/// What an arm's runs say together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// Which arm.
    pub arm: ArmSpec,
    /// Runs that finished, and runs that broke.
    pub finished: usize,
    /// Runs that broke, with their reasons.
    pub broken: Vec<String>,
    /// Task by task, in the comparison's order.
    pub tasks: Vec<ArmTask>,
    /// Δm: the mean over tasks of the relative gain over the baseline, each task's metrics averaged first. Positive is
    /// better. In percent, per seed pair, so that its interval is over seeds.
    pub gain_per_task: Option<Interval>,
    /// The same with every metric of every task counted alike.
    pub gain_per_metric: Option<Interval>,
    /// Δm of the mean scores, both conventions.
    pub gains: [Gain; 2],
    /// Mean rank over tasks, 1 for the best.
    pub mean_rank: Option<f64>,
    /// Share of the tasks with significant negative transfer (Holm-corrected), in [0, 1].
    pub negative_share: Option<f64>,
    /// Tests of the seed-paired mean headline differences from the baseline: paired t, Wilcoxon signed-rank.
    pub tests: Vec<TestResult>,
    /// Cohen's d_z of those differences.
    pub effect: Option<f64>,
    /// Parameters: of the model, of single-task models for the same tasks, stored bytes.
    pub parameters: usize,
    /// Those that training may change.
    pub trainable: usize,
    /// What one whole model per task would have.
    pub single_task_parameters: usize,
    /// Bytes of the model in a file.
    pub stored_bytes: u64,
    /// 1 − parameters/single-task parameters.
    pub parameter_reduction: f64,
    /// Wall-clock seconds of training, mean over runs, search phases included.
    pub seconds: f64,
    /// Processor seconds, mean over runs, tuning runs not included.
    pub cpu_seconds: f64,
    /// Processor seconds of this arm's tuning runs.
    pub tuning_cpu_seconds: f64,
    /// Tokens that carried text, a second of training.
    pub tokens_per_second: f64,
    /// Milliseconds to answer one text, mean over tasks.
    pub latency_ms: Option<f64>,
    /// Loss volatility, weight volatility (see [`crate::transfer::volatility`]), and diverged runs.
    pub loss_volatility: Option<f64>,
    /// The same of the weights αᵢ.
    pub weight_volatility: Option<f64>,
    /// How often a loss ran away, over all runs.
    pub divergences: usize,
    /// How the rule's decisions ended, over all runs.
    pub outcomes: BTreeMap<String, usize>,
    /// Weights αᵢ over time, one curve a task, averaged over seeds.
    pub weights: Vec<Curve>,
    /// Mean cosine between the tasks' gradients over training, `[tasks][tasks]`; empty if not measured.
    pub cosines: Vec<Vec<f64>>,
}

impl ArmResult {
    /// Δm in percent, per task and per metric: the mean over seed pairs, which its interval is of; that of the mean
    /// scores where there are not two pairs. The two differ where a baseline's score varies over seeds.
    pub fn gain_percent(&self) -> [Option<f64>; 2] {
        let over_pairs =
            [&self.gain_per_task, &self.gain_per_metric].map(|gain| gain.as_ref().map(|gain| gain.estimate));
        [0, 1].map(|at| over_pairs[at].or(self.gains[at].percent))
    }
}

/// An arm on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmTask {
    /// Headline score of each seed (on test, or on dev if test is sealed), in the comparison's order of seeds; null
    /// where the run broke.
    pub scores: Vec<Option<f64>>,
    /// Their mean, and their standard deviation over seeds.
    pub mean: Option<f64>,
    /// Standard deviation over seeds.
    pub deviation: Option<f64>,
    /// Gain in headline score over the baseline: paired bootstrap over examples × seeds. Null for the baseline.
    pub transfer: Option<Interval>,
    /// Its p after Holm's correction over the arm's tasks.
    pub corrected_p: Option<f64>,
    /// McNemar's test over the examples of the first seed, for tasks whose answers are right or wrong.
    pub mcnemar: Option<TestResult>,
    /// Every metric's mean over seeds.
    pub metrics: BTreeMap<String, f64>,
    /// Train − dev at the end, mean over seeds.
    pub gap: Option<f64>,
    /// How the dev curve turned, of the mean curve.
    pub overfitting: Option<Overfitting>,
    /// Dev scores over time, averaged over seeds.
    pub dev_curve: Curve,
    /// Train scores over time, averaged over seeds.
    pub train_curve: Curve,
    /// Training loss over time, averaged over seeds, thinned to at most 200 points.
    pub loss_curve: Curve,
    /// Examples that this arm gets right and the baseline wrong (first), and the other way round (second), by majority
    /// over seeds: text, truth, the baseline's answer, this arm's answer.
    pub won: Vec<Shown>,
    /// The other way round.
    pub lost: Vec<Shown>,
}

/// One example as people read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The text, cut to 300 characters.
    pub text: String,
    /// The truth.
    pub truth: String,
    /// What the baseline answers.
    pub baseline: String,
    /// What the arm answers.
    pub arm: String,
}
