//! Trainings that diverge: an error with history and remedy, and every checkpoint from before it.

use std::path::Path;

use candle_core::Tensor;
use mtl_task::{Answer, Label};
use mtl_train::{Assembled, Ended, Observer, Silent, StepReport};

use crate::tiny::{hash, metrics, new, recipe, run};

/// Trains; the error with which that ends.
fn diverged(overrides: &[&str], out: &Path, observer: &mut dyn Observer) -> String {
    let error = new(&recipe(overrides), out, false).expect("a run").execute(observer).expect_err("diverged");
    let error = format!("{error:#}");
    for part in ["training has diverged", "step ", "lower optimizer.rate", "warmup_steps"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    error
}

/// Every checkpoint in `out` is sound.
fn assert_sound(out: &Path) {
    for entry in std::fs::read_dir(out.join("checkpoints")).into_iter().flatten() {
        mtl_train::verify_checkpoint(&entry.expect("an entry").path()).expect("sound");
    }
}

#[test]
fn a_rate_that_overflows_the_weights_ends_in_an_error_and_no_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let rate = "optimizer.rate=1e39";
    let cases: [(&str, &[&str], &str); 5] = [
        ("two", &[rate, "train.steps=2"], "step"),
        // The last step of all leaves weights that no loss has seen.
        (
            "answers",
            &[rate, "train.steps=1", "schedule.name=constant", "schedule.warmup_ratio=0.0"],
            "values that answers are read from are NaN or infinite",
        ),
        ("loss", &[rate, "train.steps=9"], "the loss of task"),
        (
            "saved",
            &[rate, "train.steps=9", "train.save_every=1"],
            "the checkpoint `last` is not saved: model.safetensors: tensor `",
        ),
        ("sgd", &["optimizer.name=sgd", rate, "train.steps=9"], "step"),
    ];
    for (name, overrides, named) in cases {
        let out = folder.path().join(name);
        let error = diverged(overrides, &out, &mut Silent);
        assert!(error.contains(named) && error.contains("it is 1e39"), "{name}: {error}");
        // The first step of a warm-up has rate 0, and leaves something to keep.
        let kept = if name == "saved" { "is kept" } else { "no checkpoint was saved before it" };
        assert!(error.contains(kept), "{name}: {error}");
        assert!(!out.join("report.json").exists());
        assert_sound(&out);
    }
}

/// Puts a NaN where no text of the training reaches, before the step after `at`.
struct Poison {
    at: usize,
}

impl Observer for Poison {
    fn measure(&mut self, step: usize, _of: usize, assembled: &Assembled) -> anyhow::Result<()> {
        if step == self.at {
            let params = &assembled.trainer.model.params;
            let words = params.iter().find(|param| param.name().ends_with("/words")).expect("a word table");
            let mut values = words.snapshot()?.flatten_all()?.to_vec1::<f32>()?;
            // The row of [PAD], which packed tokens have none of.
            values[0] = f32::NAN;
            words.var().set(&Tensor::new(values, words.tensor().device())?.reshape(words.tensor().shape())?)?;
        }
        Ok(())
    }
}

#[test]
fn a_checkpoint_with_a_value_that_is_not_finite_is_never_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = ["train.save_every=1", "train.steps=5", "evaluation.every=1"];
    let (out, whole) = (folder.path().join("run"), folder.path().join("whole"));
    let error = diverged(&set, &out, &mut Poison { at: 3 });
    for part in ["step 4", "is not saved: model.safetensors: tensor `", "1 of ", "is kept", "checkpoints/last"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    assert_sound(&out);
    // What was kept goes on as if nothing had been.
    run(&recipe(&set), &whole);
    let ended = new(&recipe(&set), &out, true).expect("resumed").execute(&mut Silent).expect("trained");
    assert!(matches!(ended, Ended::Finished(_)));
    assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"));
    assert_eq!(metrics(&out).len(), 5);
}

/// Counts steps.
#[derive(Default)]
struct Steps(usize);

impl Observer for Steps {
    fn step(&mut self, step: usize, _of: usize, _rate: f64, _report: &StepReport) {
        self.0 = step;
    }
}

#[test]
fn losses_that_stay_far_above_the_untrained_level_stop_a_run_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let wild =
        ["train.steps=200", "optimizer.rate=3.0", "train.clip=0.0", "train.save_every=1", "schedule.name=constant"];
    let early = [&wild[..], &["train.divergence=3.0", "train.divergence_steps=5"]].concat();
    let (out, mut steps) = (folder.path().join("early"), Steps::default());
    let error = diverged(&early, &out, &mut steps);
    for part in ["the loss has been above", "for 5 steps", "losses of `", "lowest", "last ", "train.divergence"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    assert!((5..200).contains(&steps.0), "{}", steps.0);
    assert_eq!(metrics(&out).len(), steps.0, "the lines that led there are kept");
    assert_sound(&out);
    // Going on from what was kept ends alike: the same steps give the same bits.
    let again = new(&recipe(&early), &out, true).map(|run| run.execute(&mut Silent));
    if let Ok(again) = again {
        assert_eq!(format!("{:#}", again.expect_err("diverged again")), error);
    }
    // Switched off it goes on, to whatever end.
    let off = [&wild[..], &["train.divergence=0.0", "train.steps=30"]].concat();
    let mut seen = Steps::default();
    let _ = new(&recipe(&off), &folder.path().join("off"), false).expect("a run").execute(&mut seen);
    assert!(seen.0 > 0);
}

#[test]
fn the_detector_changes_no_run_that_learns() {
    let folder = tempfile::tempdir().expect("a folder");
    let trained = |name: &str, overrides: &[&str]| {
        let out = folder.path().join(name);
        run(&recipe(&[&["train.steps=12"], overrides].concat()), &out);
        hash(&out, "model.safetensors")
    };
    let usual = trained("usual", &[]);
    assert_eq!(trained("off", &["train.divergence=0.0"]), usual);
    assert_eq!(trained("strict", &["train.divergence=2.0", "train.divergence_steps=3"]), usual);
}

#[test]
fn a_comparison_takes_a_training_that_diverged_for_the_baselines() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [&[&str]; 2] = [
        &["optimizer.rate=1e39", "train.steps=9"],
        &["optimizer.rate=1e39", "train.steps=1", "schedule.name=constant", "schedule.warmup_ratio=0.0"],
    ];
    for (case, overrides) in cases.into_iter().enumerate() {
        let out = folder.path().join(case.to_string());
        let run = new(&recipe(overrides), &out, false).expect("a run");
        let finished = run.execute_recorded(&mut Silent).expect("a result").expect("not interrupted");
        let why = finished.diverged.as_ref().expect("diverged");
        assert!(why.contains("NaN") || why.contains("finite"), "{why}");
        assert!(finished.report.warnings.iter().any(|warning| warning.contains("diverged")));
        assert_eq!((finished.latency_ms, finished.data.len()), (None, finished.answered.len()));
        for answered in &finished.answered {
            let report = &finished.report.tasks[&answered.task];
            assert_eq!(report.metrics[&report.headline].test, Some(report.trivial));
            let constant = |answer: &Answer| match &answer.label {
                Label::Tags(tags) => tags.iter().all(|tag| *tag == tags[0]),
                label => *label == answered.answers[0].label,
            };
            assert!(answered.answers.iter().all(constant));
        }
        assert!(out.join("report.json").exists());
    }
    let sound = new(&recipe(&["train.steps=1"]), &folder.path().join("sound"), false).expect("a run");
    let finished = sound.execute_recorded(&mut Silent).expect("trained").expect("finished");
    assert!(finished.diverged.is_none() && finished.latency_ms.is_some());
}
