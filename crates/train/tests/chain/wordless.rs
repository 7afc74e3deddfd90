//! Batches of a tagging task in which no word has a token: there is nothing to learn from them and nothing to ask.

use mtl_data::Example;
use mtl_task::{Label, Progress, TaskBatch, TaskId};
use mtl_train::{Assembled, DevSplits, Forward, StepReport};

use crate::tiny::{assembled, recipe};

const TAGS: TaskId = TaskId(2);
const EXACT: [&str; 4] = ["train.precision=f64", "train.dropout=0.0", "head.dropout=0.0", "weighting.rule=nash"];

fn exact(more: &[&str]) -> Assembled {
    assembled(&recipe(&[&EXACT[..], more].concat()))
}

/// The first `count` training examples of `task`, those from `wordless` on without a token for any word.
fn examples(assembled: &Assembled, task: TaskId, count: usize, wordless: usize) -> Vec<Example> {
    let mut examples = assembled.datasets[task.0].train.examples[..count].to_vec();
    examples.iter_mut().skip(wordless).for_each(|example| example.encoded.anchors.clear());
    examples
}

/// A window of four examples a task, the tagging task's from `wordless` on without a word.
fn window(assembled: &Assembled, wordless: usize) -> Vec<TaskBatch> {
    let batch = |task: usize| {
        let from = if TaskId(task) == TAGS { wordless } else { 4 };
        mtl_data::collate(TaskId(task), &examples(assembled, TaskId(task), 4, from), true)
    };
    (0..3).map(batch).collect()
}

fn step(assembled: &mut Assembled, batches: &[TaskBatch]) -> anyhow::Result<StepReport> {
    assembled.trainer.step(&[batches.to_vec()], Progress { step: 0, of: 4 }, 1e-2, &DevSplits::none())
}

fn values(assembled: &Assembled) -> Vec<Vec<f64>> {
    let params = assembled.trainer.model.params.iter();
    params.map(|param| param.tensor().flatten_all().and_then(|flat| flat.to_vec1()).expect("values")).collect()
}

#[test]
fn a_task_without_a_word_sits_out_of_the_step() {
    let (mut some, mut all) = (exact(&[]), exact(&[]));
    let batches = window(&some, 0);
    let (found, expected) =
        (step(&mut some, &batches).expect("a step"), step(&mut all, &batches[..2]).expect("a step"));
    assert_eq!((found.tasks.as_slice(), &found), (&[0, 1][..], &expected));
    assert_eq!(values(&some), values(&all));
    let error = step(&mut some, &batches[2..]).expect_err("nothing to learn from").to_string();
    assert!(error.contains("step 0") && error.contains("no text") && error.contains("train.batch"), "{error}");
}

#[test]
fn pieces_without_a_word_change_nothing() {
    let (mut whole, mut pieces) = (exact(&[]), exact(&["train.accumulate=4"]));
    let batches = window(&whole, 1);
    let (expected, found) = (step(&mut whole, &batches).expect("a step"), step(&mut pieces, &batches).expect("a step"));
    for (found, expected) in found.losses.iter().zip(&expected.losses) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    for (found, expected) in values(&pieces).iter().flatten().zip(values(&whole).iter().flatten()) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}

#[test]
fn words_without_a_token_are_answered_with_the_neutral_tag() {
    let assembled = exact(&[]);
    let asked = examples(&assembled, TAGS, 6, 2);
    let kind = mtl_task::build(&Default::default(), &assembled.datasets[TAGS.0].spec).expect("a task");
    let answers = |batch: usize| {
        Forward::of(&assembled.trainer.model).answers(kind.as_ref(), TAGS, &asked, batch).expect("answers")
    };
    // One at a time most chunks have no word at all; all at once the chunk has some.
    let (alone, together) = (answers(1), answers(6));
    for ((alone, together), example) in alone.iter().zip(&together).zip(&asked) {
        assert_eq!(alone.label, together.label);
        let Label::Tags(tags) = &alone.label else { panic!("tags") };
        assert_eq!((tags.len(), alone.scores.len()), (example.encoded.words, example.encoded.words));
        if example.encoded.anchors.is_empty() {
            assert!(tags.iter().all(|&tag| kind.names()[tag as usize] == "O"), "{tags:?}");
            assert!(alone.scores.iter().all(|&score| score == 0.));
        }
    }
}
