//! Masked language modelling as a task among others.

use mtl_train::{Ended, Observer, StepReport};

use crate::tiny::{hash, new, recipe, run, run_with_a_break};

const TEXT: &str = "tasks=[\"topic\", \"text\"]";

#[test]
fn a_broken_run_masks_as_one_that_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&[TEXT, "weighting.rule=equal", "train.steps=5"]);
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let expected = run(&recipe, &whole);
    assert_eq!(run_with_a_break(&recipe, &broken, 2).tasks, expected.tasks);
    assert_eq!(hash(&broken, "model.safetensors"), hash(&whole, "model.safetensors"));
    assert_eq!(expected.tasks["text"].headline, "token-accuracy");
}

#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn step(&mut self, _step: usize, _of: usize, _rate: f64, report: &StepReport) {
        self.0.extend(&report.losses);
    }
}

/// Four texts, all of them in every step, at a rate of nothing: the loss stays what it is unless the masks change.
#[test]
fn a_text_is_masked_anew_in_every_step() {
    let spread = |task: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let tasks = format!("tasks=[\"{task}\"]");
        let still = ["train.limit=4", "train.dropout=0.0", "head.dropout=0.0", "optimizer.rate=0.0"];
        let recipe =
            recipe(&[&[tasks.as_str(), "sharing.strategy=single", "weighting.rule=equal"], &still[..]].concat());
        let mut losses = Losses::default();
        let ended = new(&recipe, &folder.path().join("run"), false).expect("a run").execute(&mut losses);
        assert!(matches!(ended.expect("trained"), Ended::Finished(_)));
        assert_eq!(losses.0.len(), 4);
        losses.0.iter().fold(f64::MIN, |most, loss| most.max(*loss))
            - losses.0.iter().fold(f64::MAX, |least, loss| least.min(*loss))
    };
    let (text, tags) = (spread("text"), spread("tags"));
    assert!(text > 1e-3 && tags < 1e-4, "{text} {tags}");
}

#[test]
fn the_labels_of_a_text_that_is_its_own_truth_cannot_be_shuffled() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&[TEXT, "control.shuffle=[\"text\"]"]);
    let error = new(&recipe, &folder.path().join("run"), false).err().expect("refused");
    let error = format!("{error:#}");
    assert!(error.contains("[control] shuffle") && error.contains("`text`"), "{error}");
}
