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
    /// The baseline first, then the other arms that are ranked, then the rest, those without an answer to every task last.
    pub(super) arms: Vec<&'a ArmSpec>,
    /// How many of them, from the first, are ranked.
    pub(super) ranked: usize,
    /// The seeds that all ranked arms finished, which means and ranks are over.
    pub(super) common: Vec<u64>,
    records: BTreeMap<(&'a str, u64), &'a RunRecord>,
}

impl<'a> Table<'a> {
    /// The table of `records`, those that diverged being in `filled` as [`super::diverged`] scores them.
    pub(super) fn new(
        metrics: &'a Metrics,
        question: &'a Question,
        records: &'a [RunRecord],
        filled: &'a [RunRecord],
    ) -> Result<Self> {
        let mut found = BTreeMap::new();
        let records = records.iter().filter(|record| record.diverged.is_none()).chain(filled);
        for record in records {
            let asked = question.arms.iter().any(|arm| arm.name == record.arm) && question.seeds.contains(&record.seed);
            if asked && found.insert((record.arm.as_str(), record.seed), record).is_some() {
                bail!("two records of arm `{}` with seed {}", record.arm, record.seed);
            }
        }
        let arms = question.arms.iter().collect();
        let mut table = Self { question, metrics, arms, ranked: 0, common: Vec::new(), records: found };
        let names: Vec<&str> = table.arms.iter().map(|arm| arm.name.as_str()).collect();
        ensure!(
            names.contains(&question.baseline.as_str()),
            "the baseline `{}` is none of the arms {}",
            question.baseline,
            names.join(", ")
        );
        table.check()?;
        let place = |arm: &ArmSpec| (arm.name != question.baseline, !table.is_ranked(arm), !table.is_whole(arm));
        let mut arms = table.arms.clone();
        arms.sort_by_key(|arm| place(arm));
        table.ranked = arms.iter().take_while(|arm| arm.name == question.baseline || table.is_ranked(arm)).count();
        let all = |seed: &&u64| arms[..table.ranked].iter().all(|arm| table.run(&arm.name, **seed).is_some());
        table.common = question.seeds.iter().filter(all).copied().collect();
        table.arms = arms;
        Ok(table)
    }

    /// The baseline must have run, and arms must have answered the same examples.
    fn check(&self) -> Result<()> {
        let baseline = &self.question.baseline;
        ensure!(self.runs(baseline).next().is_some(), "the baseline `{baseline}` has no finished run");
        for arm in &self.arms {
            let judged = self.judged_tasks(&arm.name);
            for run in self.runs(&arm.name) {
                if let Some(task) = judged.iter().find(|task| !run.tasks.contains_key(**task)) {
                    bail!("run {}: does not judge task `{task}`, which other runs of its arm `{}` do", run.id, run.arm);
                }
            }
        }
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
                let odd = judged(record).iter().find(|(_, score)| !score.is_finite());
                if let Some((metric, score)) = odd {
                    bail!("run {}: task `{task}` has {score} as its {metric}, which is no score", run.id);
                }
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

    /// Every run of `arm`, in the question's order of seeds.
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

    /// The tasks that runs of `arm` answer, in the question's order.
    pub(super) fn judged_tasks(&self, arm: &str) -> Vec<&'a str> {
        let judged = |task: &&String| self.of(arm, task).iter().any(Option::is_some);
        self.question.tasks.iter().filter(judged).map(String::as_str).collect()
    }

    /// Whether runs of `arm` answer each task.
    pub(super) fn is_whole(&self, arm: &ArmSpec) -> bool {
        self.judged_tasks(&arm.name).len() == self.question.tasks.len()
    }

    /// The seeds that both `arm` and the baseline finished.
    pub(super) fn pairs(&self, arm: &str) -> Vec<u64> {
        let baseline = &self.question.baseline;
        let both = |seed: &&u64| self.run(arm, **seed).is_some() && self.run(baseline, **seed).is_some();
        self.question.seeds.iter().filter(both).copied().collect()
    }

    /// Whether `arm` is ranked: a candidate that answers every task and has a pair with the baseline for at least half
    /// of the seeds that the baseline finished. An arm with fewer would leave the others hardly a seed to be ranked by.
    pub(super) fn is_ranked(&self, arm: &ArmSpec) -> bool {
        let finished = self.runs(&self.question.baseline).count();
        arm.is_candidate() && self.is_whole(arm) && 2 * self.pairs(&arm.name).len() >= finished
    }

    /// The seeds that means of `arm` are over: those of [`Table::common`] that it finished; if it finished none of them,
    /// its own.
    pub(super) fn counted(&self, arm: &str) -> Vec<u64> {
        let own: Vec<u64> = self.runs(arm).map(|run| run.seed).collect();
        let common: Vec<u64> = own.iter().filter(|seed| self.common.contains(seed)).copied().collect();
        if common.is_empty() { own } else { common }
    }

    /// The first task that asks about the same texts as `task`: what is resampled for one is resampled for both.
    pub(super) fn same_texts(&self, task: &'a str) -> &'a str {
        let texts =
            |task: &str| self.of(&self.question.baseline, task).into_iter().flatten().next().map(|one| &one.texts);
        let own = texts(task).filter(|texts| !texts.is_empty());
        self.question.tasks.iter().find(|other| own.is_some() && texts(other) == own).map_or(task, String::as_str)
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
                ceiling: record.ceiling.filter(|ceiling| ceiling.is_finite()),
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
