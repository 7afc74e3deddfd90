//! One arm on one task: scores over seeds, and the tests of its difference from the baseline.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mtl_task::Answer;

use super::curves::{mean_curve, thinned, turned};
use super::table::{Table, judged, mean, right, score};
use super::{ArmSpec, ArmTask, TaskRecord, examples};
use crate::stats::{Arms, Bootstrap, Interval, Resamples, TestResult, discordant, mcnemar, paired_resamples};
use crate::transfer::spread;

/// What the runs of `arm` say of `task`, whose difference from the baseline has the interval `transfer`; p not yet
/// corrected.
pub(super) fn result(table: &Table, arm: &ArmSpec, task: &str, transfer: Option<Interval>) -> ArmTask {
    let records = table.of(&arm.name, task);
    let found: Vec<&TaskRecord> = records.iter().copied().flatten().collect();
    let scores: Vec<Option<f64>> = records.iter().map(|record| score((*record)?)).collect();
    let counted = table.counted(&arm.name);
    let over = |values: &[Option<f64>]| -> Vec<f64> {
        let seeds = table.question.seeds.iter().zip(values).filter(|(seed, _)| counted.contains(seed));
        seeds.filter_map(|(_, value)| *value).collect()
    };
    let known = over(&scores);
    let mut seed_metrics: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for name in found.first().map(|record| judged(record).keys()).into_iter().flatten() {
        let of = records.iter().map(|record| judged((*record)?).get(name).copied());
        seed_metrics.insert(name.clone(), of.collect());
    }
    let mean_of = |(name, values): (&String, &Vec<Option<f64>>)| Some((name.clone(), mean(over(values))?));
    let metrics = seed_metrics.iter().filter_map(mean_of).collect();
    let gap = |record: &&TaskRecord| Some(record.train.get(&record.headline)? - record.dev.get(&record.headline)?);
    let dev_curve = mean_curve(found.iter().map(|record| &record.dev_curve));
    let train_curve = mean_curve(found.iter().map(|record| &record.train_curve));
    let pairs = pairs(table, arm, task);
    let compared = if arm.name == table.question.baseline { &[][..] } else { &pairs[..] };
    let (won, lost) = examples::won_and_lost(compared);
    ArmTask {
        mean: mean(known.iter().copied()),
        deviation: (known.len() > 1).then(|| spread(&known)),
        scores,
        transfer,
        corrected_p: None,
        mcnemar: compared.first().and_then(|(own, baseline)| mcnemar_of(own, baseline)),
        seed_metrics,
        metrics,
        gap: mean(found.iter().filter_map(gap)),
        overfitting: turned(&train_curve, &dev_curve),
        dev_curve,
        train_curve,
        loss_curve: thinned(mean_curve(found.iter().map(|record| &record.loss_curve))),
        won,
        lost,
    }
}

/// The arm's record and the baseline's, for every seed that has both.
fn pairs<'a>(table: &Table<'a>, arm: &ArmSpec, task: &str) -> Vec<(&'a TaskRecord, &'a TaskRecord)> {
    let baseline = table.of(&table.question.baseline, task);
    table.of(&arm.name, task).into_iter().zip(baseline).filter_map(|(own, other)| Some((own?, other?))).collect()
}

/// What the primary test of a task and of the mean over tasks is made of: the paired bootstrap over examples × seeds, by
/// a stream that depends on the arm and on the task alone, or on the first task that asks about the same texts. None for
/// the baseline, and for a task of fewer than two examples.
pub(super) fn resamples(table: &Table, arm: &ArmSpec, task: &str) -> Result<Option<Resamples>> {
    let question = table.question;
    let pairs = if arm.name == question.baseline { Vec::new() } else { pairs(table, arm, task) };
    let Some((record, _)) = pairs.first().filter(|(record, _)| record.truths.len() > 1) else { return Ok(None) };
    let metric = *table.metrics.find(&record.headline)?;
    let answers = |pick: fn(&(&TaskRecord, &TaskRecord)) -> Vec<Answer>| pairs.iter().map(pick).collect::<Vec<_>>();
    let arms = Arms {
        first: &answers(|(own, _)| own.answers.clone()),
        second: &answers(|(_, baseline)| baseline.answers.clone()),
        truth: &record.truths,
        names: &record.names,
    };
    let settings = Bootstrap { resamples: question.resamples, confidence: 1. - question.level };
    let key = question.key.named("transfer").named(&arm.name).named(table.same_texts(task));
    let found = paired_resamples(metric, arms, key, &settings)
        .with_context(|| format!("arm `{}` against `{}` on task `{task}`", arm.name, question.baseline))?;
    Ok(Some(found))
}

/// McNemar's test on the examples of one seed; none where answers are not just right or wrong.
fn mcnemar_of(own: &TaskRecord, baseline: &TaskRecord) -> Option<TestResult> {
    let rights = |record: &TaskRecord| -> Option<Vec<bool>> {
        record.answers.iter().zip(&record.truths).map(|(answer, truth)| right(answer, truth)).collect()
    };
    let (only_own, only_baseline) = discordant(&rights(own)?, &rights(baseline)?);
    Some(mcnemar(only_own, only_baseline))
}
