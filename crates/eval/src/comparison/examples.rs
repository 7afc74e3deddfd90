//! Examples that an arm wins and loses against the baseline.
//!
//! An answer of a class, a set or tags is right if it is just the truth; an arm gets an example right if it does so for
//! more than half of the seeds. A number is never just right: there an example is won if the mean absolute error
//! falls, and those where it falls most are shown.

use mtl_task::{Answer, Label};

use super::table::{mean, right};
use super::{Shown, TaskRecord};

/// Most examples shown a side.
const SHOWN: usize = 20;
/// Most characters of a text.
const CHARACTERS: usize = 300;

/// Examples won and lost by the first of each pair, clearest first, then in the order of the split.
pub(super) fn won_and_lost(pairs: &[(&TaskRecord, &TaskRecord)]) -> (Vec<Shown>, Vec<Shown>) {
    let Some((first, _)) = pairs.first() else { return Default::default() };
    let mut margins: Vec<(usize, f64)> = (0..first.truths.len()).map(|at| (at, margin(pairs, at))).collect();
    let mut best = |sign: f64| -> Vec<Shown> {
        margins.sort_by(|a, b| (sign * b.1).total_cmp(&(sign * a.1)).then(a.0.cmp(&b.0)));
        let clear = margins.iter().take_while(|(_, margin)| sign * margin > 0.);
        clear.take(SHOWN).map(|(at, _)| shown(pairs, *at)).collect()
    };
    (best(1.), best(-1.))
}

/// How clearly the arms differ on an example: positive if it is won, 0 if neither wins it.
fn margin(pairs: &[(&TaskRecord, &TaskRecord)], at: usize) -> f64 {
    let truth = &pairs[0].0.truths[at];
    let of = |value: &dyn Fn(&Answer) -> f64, own: bool| {
        mean(pairs.iter().map(|(arm, baseline)| value(&if own { arm } else { baseline }.answers[at]))).unwrap_or(0.)
    };
    if let Label::Value(truth) = truth {
        let error = |answer: &Answer| match answer.label {
            Label::Value(value) => f64::from((value - truth).abs()),
            _ => 0.,
        };
        return of(&error, false) - of(&error, true);
    }
    let hit = |answer: &Answer| f64::from(u8::from(right(answer, truth) == Some(true)));
    let (own, baseline) = (of(&hit, true), of(&hit, false));
    if (own > 0.5) == (baseline > 0.5) { 0. } else { own - baseline }
}

fn shown(pairs: &[(&TaskRecord, &TaskRecord)], at: usize) -> Shown {
    let record = pairs[0].0;
    let answer = |own: bool| {
        let answers = pairs.iter().map(|(arm, baseline)| &if own { arm } else { baseline }.answers[at].label);
        render(&typical(&answers.collect::<Vec<_>>()), &record.names)
    };
    Shown {
        text: record.texts[at].chars().take(CHARACTERS).collect(),
        truth: render(&record.truths[at], &record.names),
        baseline: answer(false),
        arm: answer(true),
    }
}

/// The answer of most seeds, the first one of equals; of numbers their mean.
fn typical(labels: &[&Label]) -> Label {
    let values = labels.iter().filter_map(|label| if let Label::Value(value) = label { Some(*value) } else { None });
    if let Some(mean) = mean(values.map(f64::from)) {
        return Label::Value(mean as f32);
    }
    let votes = |label: &Label| labels.iter().filter(|other| **other == label).count();
    let most = labels.iter().map(|label| votes(label)).max().unwrap_or(0);
    labels.iter().find(|label| votes(label) == most).map_or(Label::Value(0.), |label| (*label).clone())
}

/// A label for people.
fn render(label: &Label, names: &[String]) -> String {
    let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| index.to_string());
    match label {
        Label::Class(class) => name(*class as usize),
        Label::Value(value) => format!("{value:.3}"),
        Label::Set(set) => {
            let held = set.iter().enumerate().filter(|(_, holds)| **holds).map(|(index, _)| name(index));
            let held: Vec<String> = held.collect();
            if held.is_empty() { "none".into() } else { held.join(", ") }
        }
        Label::Tags(tags) => tags.iter().map(|tag| name(*tag as usize)).collect::<Vec<_>>().join(" "),
    }
}
