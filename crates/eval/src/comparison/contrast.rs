//! The difference between two arms of which neither need be the baseline, as a claim asks for it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::table::Table;
use super::{ArmSpec, Question, RunRecord, diverged, task};
use crate::Metrics;
use crate::stats::{Interval, Resamples};

/// One arm minus another, over the seeds that both finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The arm.
    pub arm: String,
    /// The arm that it is compared with.
    pub against: String,
    /// The difference in headline score, mean over the tasks, by the crossed bootstrap over examples and seeds that
    /// [`ArmResult::headline`](super::ArmResult::headline) is of.
    pub headline: Interval,
    /// The same task by task, in the question's units: headline scores.
    pub tasks: BTreeMap<String, Interval>,
}

impl Contrast {
    /// `arm` minus `against` by `records`. None where one of them has no finished run, or they have no task in common
    /// that both answer; and where some task has a single example, which leaves the mean no interval.
    ///
    /// # Errors
    /// If one of them is no arm of the question, or the records contradict each other.
    pub fn of(
        metrics: &Metrics,
        question: &Question,
        records: &[RunRecord],
        (arm, against): (&str, &str),
    ) -> Result<Option<Self>> {
        let spec = |name: &str| -> Result<ArmSpec> {
            let found = question.arms.iter().find(|spec| spec.name == name).cloned();
            let known = || question.arms.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
            found.with_context(|| format!("`{name}` is none of the arms {}", known()))
        };
        if arm == against {
            bail!("`{arm}` is compared with itself");
        }
        let own = Question {
            arms: vec![spec(against)?, spec(arm)?],
            baseline: against.to_string(),
            // Differences from another arm have a stream of their own.
            key: question.key.named("against").named(against),
            ..question.clone()
        };
        let has = |name: &str| records.iter().any(|record| record.arm == name && own.seeds.contains(&record.seed));
        if !has(arm) || !has(against) {
            return Ok(None);
        }
        let filled = diverged::filled(metrics, &own, records);
        let table = Table::new(metrics, &own, records, &filled)?;
        let spec = spec(arm)?;
        let mut found: Vec<(String, Resamples)> = Vec::new();
        for name in table.judged_tasks(arm) {
            found.extend(task::resamples(&table, &spec, name)?.map(|resamples| (name.to_string(), resamples)));
        }
        if found.is_empty() || found.len() < table.judged_tasks(arm).len() {
            return Ok(None);
        }
        let confidence = 1. - question.level;
        let equal: Vec<(f64, &Resamples)> =
            found.iter().map(|(_, resamples)| (1. / found.len() as f64, resamples)).collect();
        let tasks = found.iter().map(|(name, resamples)| Ok((name.clone(), resamples.interval(confidence)?)));
        Ok(Some(Self {
            arm: arm.to_string(),
            against: against.to_string(),
            headline: Resamples::weighted(&equal)?.interval(confidence)?,
            tasks: tasks.collect::<Result<_>>()?,
        }))
    }
}
