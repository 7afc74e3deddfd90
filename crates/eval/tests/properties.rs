//! What holds for every metric, whatever the answers: 10,000 random samples.

use mtl_eval::{Metrics, spans, spans_strict};
use mtl_task::rng::{Key, Stream};
use mtl_task::{Answer, Label};

const SAMPLES: u64 = 10_000;
const TAGS: [&str; 5] = ["O", "B-a", "I-a", "B-b", "I-b"];

/// A truth and an answer of the given form, of 3 classes, 3 labels or 5 tags.
fn example(form: usize, stream: &mut Stream) -> (Answer, Label) {
    let words = stream.below(6);
    let mut label = || match form {
        0 => Label::Class(stream.below(3) as u32),
        1 => Label::Value(stream.below(9) as f32 / 4. - 1.),
        2 => Label::Set((0..3).map(|_| stream.below(2) == 1).collect()),
        _ => Label::Tags((0..words).map(|_| stream.below(TAGS.len()) as u32).collect()),
    };
    let (truth, answer) = (label(), label());
    let scores = if form == 3 { words } else { 3 };
    let scores = (0..scores).map(|_| stream.below(5) as f32 / 4.).collect();
    (Answer { label: answer, scores }, truth)
}

#[test]
fn scores_are_bounded_and_the_order_of_examples_does_not_matter() {
    let (metrics, names) = (Metrics::default(), TAGS.map(String::from));
    for sample in 0..SAMPLES {
        let mut stream = Key::new(20).with(sample).stream();
        let form = sample as usize % 4;
        let count = 1 + stream.below(8);
        let examples: Vec<(Answer, Label)> = (0..count).map(|_| example(form, &mut stream)).collect();
        let order = stream.permutation(count);
        let (answers, truth): (Vec<Answer>, Vec<Label>) = examples.iter().cloned().unzip();
        let (shuffled, their_truth): (Vec<Answer>, Vec<Label>) = order.iter().map(|&i| examples[i].clone()).unzip();
        for metric in metrics.iter().filter(|metric| metric.judges(&truth[0])) {
            let score = metric.score(&answers, &truth, &names);
            let bound = if metric.name() == "mse" { 4. } else { 2. };
            let bound = if metric.higher_is_better() { 1. } else { bound };
            assert!(score.abs() <= bound + 1e-12, "{}: {score} of {examples:?}", metric.name());
            let again = metric.score(&shuffled, &their_truth, &names);
            assert!((score - again).abs() < 1e-9, "{}: {score}, then {again} of {examples:?}", metric.name());
        }
    }
}

#[test]
fn well_formed_tags_are_read_alike_by_both_modes() {
    for sample in 0..SAMPLES {
        let mut stream = Key::new(21).with(sample).stream();
        let mut tags: Vec<&str> = (0..stream.below(9)).map(|_| TAGS[stream.below(TAGS.len())]).collect();
        for word in 0..tags.len() {
            let kind = &tags[word][1..];
            if tags[word].starts_with('I') && (word == 0 || &tags[word - 1][1..] != kind) {
                tags[word] = if kind == "-a" { "B-a" } else { "B-b" };
            }
        }
        assert_eq!(spans(&tags), spans_strict(&tags, mtl_task::Scheme::Iob2), "{tags:?}");
    }
}
