//! The records by arm and seed, checked to be comparable.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use mtl_task::{Answer, Label};

use super::{ArmSpec, Question, RunRecord, TaskFacts, TaskRecord};
use crate::Metrics;

/// What [`super::Comparison::of`] looks things up in.
pub(super) struct Table<'a> {
    pub(super) question: &'a Question,
    /// What scores the runs.
    pub(super) metrics: &'a Metrics,
    /// The baseline first, arms without an answer to every task last.
    pub(super) arms: Vec<&'a ArmSpec>,
    records: BTreeMap<(&'a str, u64), &'a RunRecord>,
}

impl<'a> Table<'a> {
    pub(super) fn new(metrics: &'a Metrics, question: &'a Question, records: &'a [RunRecord]) -> Result<Self> {
        let mut found = BTreeMap::new();
        for record in records {
            let asked = question.arms.iter().any(|arm| arm.name == record.arm) && question.seeds.contains(&record.seed);
            if asked && found.insert((record.arm.as_str(), record.seed), record).is_some() {
                bail!("two records of arm `{}` with seed {}", record.arm, record.seed);
            }
        }
        let mut table = Self { question, metrics, arms: question.arms.iter().collect(), records: found };
        let names: Vec<&str> = table.arms.iter().map(|arm| arm.name.as_str()).collect();
        ensure!(
            names.contains(&question.baseline.as_str()),
            "the baseline `{}` is none of the arms {}",
            question.baseline,
            names.join(", ")
        );
        let place = |arm: &ArmSpec| (arm.name != question.baseline, !table.is_whole(arm));
        let mut arms = table.arms.clone();
        arms.sort_by_key(|arm| place(arm));
        table.arms = arms;
        table.check()?;
        Ok(table)
    }

    /// The baseline must have run, and arms must have answered the same examples.
    fn check(&self) -> Result<()> {
        let baseline = &self.question.baseline;
        ensure!(self.runs(baseline).next().is_some(), "the baseline `{baseline}` has no finished run");
        for task in &self.question.tasks {
            let mut first: Option<(&RunRecord, &TaskRecord)> = None;
            for (run, record) in self.records.values().filter_map(|run| Some((*run, run.tasks.get(task)?))) {
                ensure!(
                    record.answers.len() == record.truths.len() && record.texts.len() == record.truths.len(),
                    "run {}: task `{task}` has {} answers and {} texts for {} truths",
                    run.id,
                    record.answers.len(),
                    record.texts.len(),
                    record.truths.len()
                );
                let (known, same) = *first.get_or_insert((run, record));
                ensure!(
                    same.truths == record.truths && same.texts == record.texts && same.headline == record.headline,
                    "task `{task}`: runs {} and {} answered different examples or are judged differently; compare runs \
                     of one data_seed and one set of limits",
                    known.id,
                    run.id
                );
            }
        }
        Ok(())
    }

    /// Every run of `arm`, with its seed, in the question's order of seeds.
    pub(super) fn runs<'b>(&'b self, arm: &'b str) -> impl Iterator<Item = &'a RunRecord> + 'b {
        self.question.seeds.iter().filter_map(move |seed| self.run(arm, *seed))
    }

    pub(super) fn run(&self, arm: &str, seed: u64) -> Option<&'a RunRecord> {
        self.records.iter().find(|((name, at), _)| *name == arm && *at == seed).map(|(_, record)| *record)
    }

    /// Every run there is.
    pub(super) fn records(&self) -> impl Iterator<Item = &'a RunRecord> + '_ {
        self.records.values().copied()
    }

    /// The records of `arm` and `task` in the order of seeds; none where the run broke or does not judge the task.
    pub(super) fn of(&self, arm: &str, task: &str) -> Vec<Option<&'a TaskRecord>> {
        self.question.seeds.iter().map(|seed| self.run(arm, *seed)?.tasks.get(task)).collect()
    }

    /// Whether some run of `arm` answers each task.
    pub(super) fn is_whole(&self, arm: &ArmSpec) -> bool {
        self.question.tasks.iter().all(|task| self.of(&arm.name, task).iter().any(Option::is_some))
    }

    /// The tasks as the baseline knows them.
    pub(super) fn facts(&self) -> Result<Vec<TaskFacts>> {
        let facts = |name: &String| {
            let records = self.of(&self.question.baseline, name);
            let record = records.into_iter().flatten().next();
            let record = record.with_context(|| format!("the baseline has no record of task `{name}`"))?;
            Ok(TaskFacts {
                name: name.clone(),
                kind: record.kind.clone(),
                headline: record.headline.clone(),
                sizes: record.sizes,
                trivial: record.trivial,
            })
        };
        self.question.tasks.iter().map(facts).collect()
    }
}

/// Every metric on the split that counts: test, or dev while test is sealed.
pub(super) fn judged(record: &TaskRecord) -> &BTreeMap<String, f64> {
    record.test.as_ref().unwrap_or(&record.dev)
}

/// The headline score on the split that counts.
pub(super) fn score(record: &TaskRecord) -> Option<f64> {
    judged(record).get(&record.headline).copied()
}

/// Whether an answer is just the truth; `None` for numbers, which are never just right.
pub(super) fn right(answer: &Answer, truth: &Label) -> Option<bool> {
    (!matches!(truth, Label::Value(_))).then(|| answer.label == *truth)
}

/// The mean; none of nothing.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0., 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}
