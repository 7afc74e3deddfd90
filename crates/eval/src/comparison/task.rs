//! One arm on one task: scores over seeds, and the tests of its difference from the baseline.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mtl_task::Answer;

use super::curves::{mean_curve, thinned, turned};
use super::table::{Table, judged, mean, right, score};
use super::{ArmSpec, ArmTask, TaskRecord, examples};
use crate::stats::{Arms, Bootstrap, Interval, TestResult, discordant, mcnemar, paired_metric};
use crate::transfer::spread;

/// What the runs of `arm` say of `task`; p not yet corrected.
pub(super) fn result(table: &Table, arm: &ArmSpec, task: &str) -> Result<ArmTask> {
    let records = table.of(&arm.name, task);
    let found: Vec<&TaskRecord> = records.iter().copied().flatten().collect();
    let scores: Vec<Option<f64>> = records.iter().map(|record| score((*record)?)).collect();
    let known: Vec<f64> = scores.iter().copied().flatten().collect();
    let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
    for name in found.first().map(|record| judged(record).keys()).into_iter().flatten() {
        let of = found.iter().filter_map(|record| judged(record).get(name).copied());
        metrics.extend(mean(of).map(|mean| (name.clone(), mean)));
    }
    let gap = |record: &&TaskRecord| Some(record.train.get(&record.headline)? - record.dev.get(&record.headline)?);
    let dev_curve = mean_curve(found.iter().map(|record| &record.dev_curve));
    let train_curve = mean_curve(found.iter().map(|record| &record.train_curve));
    let pairs = pairs(table, arm, task);
    let compared = if arm.name == table.question.baseline { &[][..] } else { &pairs[..] };
    let (won, lost) = examples::won_and_lost(compared);
    Ok(ArmTask {
        mean: mean(known.iter().copied()),
        deviation: (known.len() > 1).then(|| spread(&known)),
        scores,
        transfer: transfer(table, arm, task, compared)?,
        corrected_p: None,
        mcnemar: compared.first().and_then(|(own, baseline)| mcnemar_of(own, baseline)),
        metrics,
        gap: mean(found.iter().filter_map(gap)),
        overfitting: turned(&train_curve, &dev_curve),
        dev_curve,
        train_curve,
        loss_curve: thinned(mean_curve(found.iter().map(|record| &record.loss_curve))),
        won,
        lost,
    })
}

/// The arm's record and the baseline's, for every seed that has both.
fn pairs<'a>(table: &Table<'a>, arm: &ArmSpec, task: &str) -> Vec<(&'a TaskRecord, &'a TaskRecord)> {
    let baseline = table.of(&table.question.baseline, task);
    table.of(&arm.name, task).into_iter().zip(baseline).filter_map(|(own, other)| Some((own?, other?))).collect()
}

/// The primary test: the paired bootstrap over examples × seeds, by a stream that depends on arm and task alone.
fn transfer(
    table: &Table,
    arm: &ArmSpec,
    task: &str,
    pairs: &[(&TaskRecord, &TaskRecord)],
) -> Result<Option<Interval>> {
    let question = table.question;
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
    let key = question.key.named("transfer").named(&arm.name).named(task);
    let found = paired_metric(metric, arms, key, &settings)
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
