//! Every metric against scikit-learn, SciPy or seqeval on 1,000 random inputs.

use crate::fixture::cases;
use mtl_eval::{Judged, Metrics, Span, scores};
use mtl_task::{Answer, Label, Scheme};

const EXACT: f64 = 1e-9;

/// The score by `metric` of answers that need no scores.
fn score(metric: &str, answers: Vec<Label>, truth: &[Label], names: &[&str]) -> f64 {
    scored(metric, answers.into_iter().map(|label| Answer { label, scores: Vec::new() }).collect(), truth, names)
}

fn scored(metric: &str, answers: Vec<Answer>, truth: &[Label], names: &[&str]) -> f64 {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    scores(&Metrics::default(), &[metric], Judged { answers: &answers, truth, names: &names }).expect("scored")[metric]
}

#[test]
fn classes() {
    const METRICS: [&str; 7] =
        ["accuracy", "macro-f1", "micro-f1", "binary-f1", "stance-f1", "macro-recall", "matthews"];
    for case in cases("classes") {
        let truth: Vec<Label> = case.digits(0).into_iter().map(Label::Class).collect();
        let answers: Vec<Label> = case.digits(1).into_iter().map(Label::Class).collect();
        for (index, metric) in (3..).zip(METRICS) {
            case.expect(metric, index, score(metric, answers.clone(), &truth, &[]), EXACT);
        }
        let halves = (case.number(3) + case.number(6)) / 2.;
        assert!((score("accuracy-f1", answers.clone(), &truth, &[]) - halves).abs() < EXACT);
        let sure = case.numbers(2).into_iter().zip(answers);
        let sure = sure.map(|(score, label)| Answer { label, scores: vec![score as f32 / 64.] }).collect();
        case.expect("ece", 10, scored("ece", sure, &truth, &[]), EXACT);
    }
}

#[test]
fn values() {
    for case in cases("correlated") {
        let values = |index| case.numbers(index).into_iter().map(|n| Label::Value(n as f32 / 64.)).collect::<Vec<_>>();
        let (answers, truth) = (values(0), values(1));
        for (index, metric) in (2..).zip(["pearson", "spearman", "mae", "mse"]) {
            case.expect(metric, index, score(metric, answers.clone(), &truth, &[]), EXACT);
        }
        let mean = (case.number(2) + case.number(3)) / 2.;
        assert!((score("pearson-spearman", answers, &truth, &[]) - mean).abs() < EXACT);
    }
}

/// Rounding is by the numbers' own size: a constant of a million is one, millionths apart are not.
#[test]
fn answers_that_differ_by_their_rounding_alone_are_one_constant() {
    let truth = [1., 2., 3., 4.].map(Label::Value);
    for metric in ["pearson", "spearman"] {
        let of = |answers: [f32; 4]| score(metric, answers.map(Label::Value).to_vec(), &truth, &[]);
        assert_eq!(of([1e6, 1e6 + 0.0625, 1e6 + 0.125, 1e6 + 0.1875]), 0., "{metric}");
        assert_eq!(of([-1e6, -1e6 + 0.0625, -1e6 + 0.125, -1e6 + 0.1875]), 0., "{metric}");
        assert!((of([1e-6, 2e-6, 3e-6, 4e-6]) - 1.).abs() < 1e-6, "{metric}");
        assert!((of([1e6, 1e6 + 1., 1e6 + 2., 1e6 + 3.]) - 1.).abs() < EXACT, "{metric}");
    }
}

#[test]
fn sets() {
    for case in cases("sets") {
        let truth: Vec<Label> =
            case.digit_rows(0).iter().map(|row| Label::Set(row.iter().map(|&holds| holds == 1).collect())).collect();
        let answers: Vec<Answer> = case
            .rows(1)
            .iter()
            .map(|row| {
                let scores: Vec<f32> = row.iter().map(|score| *score as f32 / 64.).collect();
                Answer { label: Label::Set(scores.iter().map(|&score| score > 0.5).collect()), scores }
            })
            .collect();
        for (index, metric) in (2..).zip(["set-f1", "set-macro-f1", "set-map", "subset-accuracy"]) {
            case.expect(metric, index, scored(metric, answers.clone(), &truth, &[]), EXACT);
        }
    }
}

#[test]
fn spans() {
    const TAGS: [&str; 9] = ["O", "B-a", "I-a", "B-b", "I-b", "E-a", "S-a", "E-b", "S-b"];
    for case in cases("spans") {
        let tags = if case.number(0) == 1. { &TAGS[..] } else { &TAGS[..5] };
        let sequences = |index| case.digit_rows(index).into_iter().map(Label::Tags).collect::<Vec<_>>();
        let (truth, answers) = (sequences(1), sequences(2));
        for (index, metric) in (3..).zip(["span-f1", "span-f1-strict", "token-accuracy"]) {
            case.expect(metric, index, score(metric, answers.clone(), &truth, tags), EXACT);
        }
    }
}

#[test]
fn spans_of_every_scheme() {
    for case in cases("schemes") {
        let (scheme, tags) = (case.text(0), case.texts(1));
        let names: Vec<&str> = tags.iter().map(String::as_str).collect();
        let sequences = |index| case.digit_rows(index).into_iter().map(Label::Tags).collect::<Vec<_>>();
        let (truth, answers) = (sequences(2), sequences(3));
        let (kind, metric) = match scheme.as_str() {
            "IOB1" => (Scheme::Iob1, "span-f1-strict-iob1"),
            "IOB2" => (Scheme::Iob2, "span-f1-strict"),
            "IOE2" => (Scheme::Ioe2, "span-f1-strict"),
            "IOBES" => (Scheme::Iobes, "span-f1-strict"),
            "BILOU" => (Scheme::Bilou, "span-f1-strict"),
            other => panic!("{other}"),
        };
        let spans = |index: usize, strict: bool| -> Vec<Vec<Span>> {
            let sentence = |row: &Vec<u32>| {
                let tags: Vec<&str> = row.iter().map(|&tag| names[tag as usize]).collect();
                if strict { mtl_eval::spans_strict(&tags, kind) } else { mtl_eval::spans(&tags) }
            };
            case.digit_rows(index).iter().map(sentence).collect()
        };
        for (metric, strict, index) in [("span-f1", false, 4), (metric, true, 7)] {
            let (gold, said) = (spans(2, strict), spans(3, strict));
            let hits = gold.iter().zip(&said).flat_map(|(gold, said)| said.iter().filter(|span| gold.contains(span)));
            let hits = hits.count() as f64;
            let share = |of: &[Vec<Span>]| hits / of.iter().map(Vec::len).sum::<usize>().max(1) as f64;
            case.expect(&format!("{scheme}, precision"), index, share(&said), EXACT);
            case.expect(&format!("{scheme}, recall"), index + 1, share(&gold), EXACT);
            case.expect(
                &format!("{scheme}, {metric}"),
                index + 2,
                score(metric, answers.clone(), &truth, &names),
                EXACT,
            );
        }
    }
}

#[test]
fn tags_of_no_scheme_have_no_spans_to_judge() {
    let truth = [Label::Tags(vec![0, 1])];
    let answers = [Answer { label: truth[0].clone(), scores: vec![1.; 2] }];
    for (metric, names) in [
        ("span-f1", ["NOUN", "VERB"]),
        ("span-f1-strict", ["0", "1"]),
        ("span-f1-strict-iob1", ["O", "S-a"]),
        ("span-f1", ["B-a", "X"]),
    ] {
        let names = names.map(String::from);
        let judged = Judged { answers: &answers, truth: &truth, names: &names };
        let error = scores(&Metrics::default(), &[metric], judged).expect_err(metric);
        assert!(error.to_string().contains("is not for this task"), "{error}");
    }
}

#[test]
fn stance_is_read_by_name_where_names_tell() {
    let truth = [2, 0, 1].map(Label::Class);
    let answers = [2, 1, 1].map(Label::Class).to_vec();
    assert_eq!(score("stance-f1", answers.clone(), &truth, &["AGAINST", "NONE", "FAVOR"]), 0.5);
    assert!((score("stance-f1", answers, &truth, &["none", "con", "pro"]) - 5. / 6.).abs() < EXACT);
}

#[test]
fn malformed_tags_are_read_as_the_modes_say() {
    let spans = |tags: &[&str]| -> Vec<(String, usize, usize)> {
        mtl_eval::spans(tags).iter().map(|span| (span.kind.to_string(), span.first, span.last)).collect()
    };
    let strict =
        |tags: &[&str], bounded| mtl_eval::spans_strict(tags, if bounded { Scheme::Iobes } else { Scheme::Iob2 }).len();
    let span = |kind: &str, first, last| (kind.to_string(), first, last);
    assert_eq!(spans(&["I-a", "I-a", "O", "I-b"]), [span("a", 0, 1), span("b", 3, 3)]);
    assert_eq!(spans(&["B-a", "I-b", "I-b"]), [span("a", 0, 0), span("b", 1, 2)]);
    assert_eq!(
        spans(&["B-a", "B-a", "S-a", "E-a"]),
        [span("a", 0, 0), span("a", 1, 1), span("a", 2, 2), span("a", 3, 3)]
    );
    assert_eq!(spans(&["B-per-loc", "E-per-loc", "I-per-loc"]), [span("per-loc", 0, 1), span("per-loc", 2, 2)]);
    assert_eq!((strict(&["I-a", "I-a", "O"], false), strict(&["B-a", "I-b"], false)), (0, 1));
    assert_eq!((strict(&["B-a", "I-a"], true), strict(&["B-a", "I-a", "E-a", "S-b"], true)), (0, 2));
}
