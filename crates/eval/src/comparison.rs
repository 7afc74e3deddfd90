//! Many runs compared: arms (a strategy under a rule, with everything else equal) over seeds and tasks.
//!
//! A [`RunRecord`] is what one finished run leaves; [`Comparison`] is what all of them say together, everything that a
//! report shows and nothing that it would have to compute.

mod arm;
mod contrast;
mod curves;
mod diverged;
mod examples;
mod gain;
mod headroom;
mod record;
mod result;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod verdict;
mod warnings;
pub mod words;

pub use contrast::Contrast;
pub use record::{ArmSpec, Curve, Point, Role, RunRecord, Sampled, TaskRecord};
pub use result::{ArmResult, ArmTask, Headroom, LeftOut, Shown, TaskFacts};
pub use verdict::{Tone, Verdict};

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use mtl_task::rng::Key;
use serde::{Deserialize, Serialize};

use crate::Metrics;
use crate::stats::{Nemenyi, TestResult, friedman, holm, nemenyi};
use table::Table;

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

/// Passes through the training examples of a run's smallest task below which an arm is a pilot: the fewest epochs that
/// encoders are fine-tuned for (Devlin et al., "BERT", 2019, appendix A.3: 2 to 4).
pub const PILOT_PASSES: f64 = 2.;
/// Steps a task below which an arm is a pilot where passes were not counted.
pub const PILOT_STEPS: usize = 300;
/// Pairs of seeds below which an arm is a pilot.
pub const PILOT_SEEDS: usize = 5;

/// The whole of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The experiment's name and its own words on what it asks.
    pub name: String,
    /// What the experiment asks.
    pub about: String,
    /// Set if every arm is a pilot: why no conclusion may be drawn from any of them. See [`ArmResult::pilot`].
    pub pilot: Option<String>,
    /// The arm that every other one is compared with.
    pub baseline: String,
    /// The tasks, in the experiment's order.
    pub tasks: Vec<TaskFacts>,
    /// The seeds, which pair the arms.
    pub seeds: Vec<u64>,
    /// What differs between seeds, and so what intervals range over besides test examples.
    #[serde(default)]
    pub sampled: Sampled,
    /// The seeds that every ranked arm finished: means and ranks are over these.
    #[serde(default)]
    pub common: Vec<u64>,
    /// The arms, the baseline first, then the other ranked ones.
    pub arms: Vec<ArmResult>,
    /// Differences between two arms that somebody asked for beside those from the baseline.
    #[serde(default)]
    pub contrasts: Vec<Contrast>,
    /// Friedman's test over tasks as blocks (never seeds), headline scores averaged over seeds.
    pub friedman: Option<TestResult>,
    /// Mean ranks of the first arms, in their order, with Nemenyi's critical difference. Only candidates that answer
    /// every task, and have a pair of seeds with the baseline for at least half of the baseline's, are among them.
    pub nemenyi: Option<Nemenyi>,
    /// The room that each task leaves above the baseline.
    #[serde(default)]
    pub headroom: Vec<Headroom>,
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
    /// Arms stand in the question's order, the baseline first, then the ranked ones: candidates that answer every task
    /// and finished at least half of the baseline's seeds. So the methods of [`Comparison::nemenyi`] are the first arms.
    /// Runs that diverged count as results, scored as the trivial baseline. Reasons of broken runs, tuning costs,
    /// contrasts and provenance are the caller's to add; [`Comparison::conclude`] then says the verdicts anew.
    ///
    /// # Errors
    /// If the baseline is no arm or has no record, a level is not in (0, 1), a run lacks a task of its arm, a score is not
    /// finite, or two arms answered different examples of a task.
    pub fn of(metrics: &Metrics, question: &Question, records: &[RunRecord]) -> Result<Self> {
        if !(question.level > 0. && question.level < 1.) {
            bail!("the level must lie between 0 and 1, found {}", question.level);
        }
        let filled = diverged::filled(metrics, question, records);
        let table = Table::new(metrics, question, records, &filled)?;
        let tasks = table.facts()?;
        let mut arms: Vec<ArmResult> = table.arms.iter().map(|arm| arm::result(&table, arm)).collect::<Result<_>>()?;
        let ranked = if table.common.is_empty() { 0 } else { table.ranked };
        let blocks: Vec<Vec<f64>> = (0..tasks.len())
            .map(|task| arms[..ranked].iter().filter_map(|arm| arm.tasks[task].mean).collect())
            .collect();
        // A single block, or a single arm, ranks nothing.
        let rankable = ranked > 1 && blocks.len() > 1;
        let nemenyi = if rankable { nemenyi(&blocks, question.level)? } else { None };
        if let Some(nemenyi) = &nemenyi {
            arms.iter_mut().zip(&nemenyi.mean_ranks).for_each(|(arm, rank)| arm.mean_rank = Some(*rank));
        }
        correct(&mut arms)?;
        let lower = |name: &&String| metrics.find(name).is_ok_and(|metric| !metric.higher_is_better());
        let scored = arms.iter().flat_map(|arm| &arm.tasks).flat_map(|task| task.metrics.keys());
        let lower_is_better = scored.filter(lower).cloned().collect();
        let headroom = headroom::all(&table, &tasks, &arms);
        let mut comparison = Self {
            name: question.name.clone(),
            about: question.about.clone(),
            pilot: warnings::all_pilots(&arms, &question.baseline),
            baseline: question.baseline.clone(),
            tasks,
            seeds: question.seeds.clone(),
            sampled: question.sampled,
            common: table.common.clone(),
            arms,
            contrasts: Vec::new(),
            friedman: if rankable { Some(friedman(&blocks)?) } else { None },
            nemenyi,
            lower_is_better,
            level: question.level,
            test_opened_at: table.records().filter_map(|record| record.test_opened_at.clone()).min(),
            provenance: BTreeMap::new(),
            warnings: [warnings::all(&table), headroom::warnings(&headroom, &question.baseline)].concat(),
            headroom,
        };
        comparison.conclude();
        Ok(comparison)
    }

    /// Says the verdict on every arm but the baseline, by what the comparison holds now.
    pub fn conclude(&mut self) {
        let words: Vec<Option<Verdict>> =
            (self.arms.iter()).map(|arm| (arm.arm.name != self.baseline).then(|| self.verdict(arm))).collect();
        self.arms.iter_mut().zip(words).for_each(|(arm, verdict)| arm.verdict = verdict);
    }
}

/// Corrects the p of the headline differences over the candidates, after Holm; other arms keep their own.
fn correct(arms: &mut [ArmResult]) -> Result<()> {
    let (mut candidates, others): (Vec<&mut ArmResult>, Vec<&mut ArmResult>) =
        arms.iter_mut().filter(|arm| arm.headline.is_some()).partition(|arm| arm.arm.is_candidate());
    let p = |arm: &ArmResult| arm.headline.as_ref().map(|found| found.p);
    let corrected = holm(&candidates.iter().filter_map(|arm| p(arm)).collect::<Vec<_>>())?;
    candidates.iter_mut().zip(corrected).for_each(|(arm, p)| arm.corrected_p = Some(p));
    others.into_iter().for_each(|arm| arm.corrected_p = p(arm));
    Ok(())
}
