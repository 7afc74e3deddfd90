//! The rule for runs whose training diverged: such a run is a result, and its result is the trivial baseline.
//!
//! Leaving it out would compare the arm where it happens to work; scoring it by what its broken weights answer would
//! depend on how they broke. So on each task that the run left no answers to, it answers as the baseline of
//! [`TaskRecord::trivial`] does: always the commonest answer. The rule is the same for every arm, the baseline included.

use std::collections::BTreeMap;

use mtl_task::{Answer, Label};

use super::table::mean;
use super::{Curve, Question, RunRecord, TaskRecord};
use crate::{Judged, Metrics, baseline_predictions, scores};

/// Those of `records` that diverged, with the trivial baselines on what they did not answer.
pub(super) fn filled(metrics: &Metrics, question: &Question, records: &[RunRecord]) -> Vec<RunRecord> {
    let sound = |record: &&RunRecord| record.diverged.is_none();
    let fill = |record: &RunRecord| {
        let mut filled = record.clone();
        // An arm with spoilt tasks is judged on none of them, whatever became of a run.
        let own: Vec<&RunRecord> = records.iter().filter(sound).filter(|one| one.arm == record.arm).collect();
        for task in question.tasks.iter().filter(|task| !record.tasks.contains_key(*task)) {
            let judged = own.is_empty() || own.iter().any(|run| run.tasks.contains_key(task));
            let template = records.iter().filter(sound).find_map(|run| run.tasks.get(task)).filter(|_| judged);
            filled.tasks.extend(template.map(|template| (task.clone(), trivial(metrics, template))));
        }
        filled
    };
    records.iter().filter(|record| record.diverged.is_some()).map(fill).collect()
}

/// A task's record with the trivial baselines.
fn trivial(metrics: &Metrics, template: &TaskRecord) -> TaskRecord {
    let TaskRecord { truths, names, .. } = template;
    let score = |answers: &[Answer], name: &str| {
        let judged = Judged { answers, truth: truths, names };
        scores(metrics, &[name], judged).ok()?.get(name).copied()
    };
    // The commonest answer of the training labels, which only its score tells of; else that of the truths.
    let fits = |label: &Label| {
        let found = score(&baseline_predictions(label, truths), &template.headline);
        found.is_some_and(|found| (found - template.trivial).abs() < 1e-9)
    };
    let commonest = commonest(truths);
    let label = constants(truths, names).into_iter().find(|label| *label != commonest && fits(label));
    let label = if fits(&commonest) { commonest } else { label.unwrap_or(commonest) };
    let answers = baseline_predictions(&label, truths);
    let known = template.test.as_ref().unwrap_or(&template.dev);
    let scored: BTreeMap<String, f64> =
        known.keys().filter_map(|name| Some((name.clone(), score(&answers, name)?))).collect();
    let empty = Curve::default;
    TaskRecord {
        train: BTreeMap::new(),
        dev: if template.test.is_some() { BTreeMap::new() } else { scored.clone() },
        test: template.test.as_ref().map(|_| scored),
        answers,
        dev_curve: empty(),
        train_curve: empty(),
        loss_curve: empty(),
        weight_curve: empty(),
        passes: None,
        ..template.clone()
    }
}

/// Answers that are the same for every example, where there are few of them.
fn constants(truths: &[Label], names: &[String]) -> Vec<Label> {
    let each = |of: fn(u32) -> Label| (0..names.len() as u32).map(of).collect();
    match truths.first() {
        Some(Label::Class(_)) => each(Label::Class),
        Some(Label::Tags(_)) => each(|tag| Label::Tags(vec![tag])),
        Some(Label::Set(_)) => vec![Label::Set(vec![false; names.len()])],
        _ => Vec::new(),
    }
}

/// The commonest class or tag, the set of what most examples hold, the mean value.
fn commonest(truths: &[Label]) -> Label {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    let mut held: Vec<usize> = Vec::new();
    let mut values: Vec<f64> = Vec::new();
    for truth in truths {
        match truth {
            Label::Class(class) => *counts.entry(*class).or_default() += 1,
            Label::Tags(tags) => tags.iter().for_each(|tag| *counts.entry(*tag).or_default() += 1),
            Label::Value(value) => values.push(f64::from(*value)),
            Label::Set(set) => {
                held.resize(held.len().max(set.len()), 0);
                held.iter_mut().zip(set).for_each(|(held, holds)| *held += usize::from(*holds));
            }
        }
    }
    let most = counts.iter().fold((0, 0), |best, (name, count)| if *count > best.1 { (*name, *count) } else { best }).0;
    match truths.first() {
        Some(Label::Tags(_)) => Label::Tags(vec![most]),
        Some(Label::Set(_)) => Label::Set(held.iter().map(|held| 2 * held > truths.len()).collect()),
        Some(Label::Value(_)) => Label::Value(mean(values).unwrap_or(0.) as f32),
        _ => Label::Class(most),
    }
}
