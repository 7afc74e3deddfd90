//! What a comparison found of tasks and arms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ArmSpec, Curve, Verdict};
use crate::stats::{Interval, TestResult};
use crate::transfer::{Gain, Overfitting};

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
    /// The best headline score that label noise lets any model expect, if it is known.
    #[serde(default)]
    pub ceiling: Option<f64>,
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
    /// Runs among the finished ones that diverged, by seed with their reasons: they are scored as the trivial baseline.
    #[serde(default)]
    pub diverged: BTreeMap<u64, String>,
    /// Seeds that the arm and the baseline both finished: all that is said of the difference between them is over these.
    #[serde(default)]
    pub pairs: Vec<u64>,
    /// Set if the arm is a pilot: why no conclusion may be drawn from it.
    #[serde(default)]
    pub pilot: Option<String>,
    /// **What the verdict rests on**: the gain in headline score over the baseline, mean over the tasks, by the crossed
    /// bootstrap over examples and seeds. Null for the baseline, and in comparisons made before there was one.
    #[serde(default)]
    pub headline: Option<Interval>,
    /// Its p after Holm's correction over the candidates; that of a control, an oracle or a portfolio as it is.
    #[serde(default)]
    pub corrected_p: Option<f64>,
    /// The verdict in words, as every report shows it.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Task by task, in the comparison's order.
    pub tasks: Vec<ArmTask>,
    /// Δm of the headline metrics: the mean over tasks of the gain over the baseline as a share of its mean score, in
    /// percent; positive is better. By the same bootstrap as [`ArmResult::headline`].
    #[serde(default)]
    pub gain_headline: Option<Interval>,
    /// Δm of all metrics, each task's averaged first, in percent. Its interval is Student's over the seed pairs: it says
    /// nothing of other test examples, so that no verdict rests on it.
    pub gain_per_task: Option<Interval>,
    /// The same with every metric of every task counted alike.
    pub gain_per_metric: Option<Interval>,
    /// Δm of the mean scores of all metrics, both conventions.
    pub gains: [Gain; 2],
    /// What Δm leaves out, in every seed and arm alike.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// Mean rank over tasks among the ranked candidates, 1 for the best.
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
    /// Every metric of each seed, in the same order.
    #[serde(default)]
    pub seed_metrics: BTreeMap<String, Vec<Option<f64>>>,
    /// Mean headline score, over those of [`Comparison::common`](super::Comparison::common) that the arm finished.
    pub mean: Option<f64>,
    /// Standard deviation over seeds.
    pub deviation: Option<f64>,
    /// Gain in headline score over the baseline: paired bootstrap over examples × seeds. Null for the baseline.
    pub transfer: Option<Interval>,
    /// Its p after Holm's correction over the arm's tasks.
    pub corrected_p: Option<f64>,
    /// McNemar's test over the examples of the first seed that both have, for tasks whose answers are right or wrong.
    pub mcnemar: Option<TestResult>,
    /// Every metric's mean over the same seeds as [`ArmTask::mean`].
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

/// A metric of a task of which Δm takes no ratio, because the baseline's score is too near 0 or too unsteady for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// `task/metric`.
    pub name: String,
    /// The baseline's mean score.
    pub baseline: f64,
    /// What the arm gains in the metric's own unit, mean over the pairs; positive is better.
    pub difference: f64,
}

/// How much better than the baseline a task lets an arm be, beside what the seeds could show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// The task.
    pub task: String,
    /// The baseline's mean headline score.
    pub baseline: f64,
    /// The most that can be gained: up to the noise ceiling where it is known, else the upper end of the best
    /// candidate's interval. Null if there is neither.
    pub room: Option<f64>,
    /// The candidate whose interval that is; null where the ceiling is known.
    pub by: Option<String>,
    /// The smallest effects that the seeds can detect with power 0.8, the lowest and the highest over the candidates.
    pub detectable: Option<[f64; 2]>,
}
