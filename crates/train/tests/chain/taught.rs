//! Teachers: what they say is learnt as the formula says, a run goes on with the same bits, and another teacher is refused.

use std::path::Path;

use candle_core::{DType, Device};
use mtl_backbone::Pass;
use mtl_data::Texts;
use mtl_task::{Label, Packed, TaskId};
use mtl_train::{Recipe, Silent, Trained};

use crate::tiny::{assembled, hash, metrics, new, recipe, run, run_with_a_break};

const STILL: [&str; 2] = ["train.dropout=0", "head.dropout=0"];

/// A teacher of all three tasks in `folder`/`name`.
fn teacher(folder: &Path, name: &str, more: &[&str]) -> std::path::PathBuf {
    let out = folder.join(name);
    run(&recipe(&[&["train.steps=12", "evaluation.keep=\"last\""], more].concat()), &out);
    out
}

/// A student of the run in `teacher`.
fn student(teacher: &Path, more: &[&str]) -> Recipe {
    let named = format!("distill.teachers={:?}", teacher.display().to_string());
    recipe(&[&[named.as_str()], more].concat())
}

fn losses(out: &Path, step: usize) -> Vec<f64> {
    let values = metrics(out)[step]["losses"].as_array().expect("losses").clone();
    values.iter().map(|loss| loss.as_f64().expect("a number")).collect()
}

/// All training examples are in the first batch, whose loss is the teacher's alone: of classes −Σ p log q, of values the
/// squared error in the units of training, of tags the mean over words.
#[test]
fn the_first_step_learns_what_the_teacher_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let teacher = teacher(folder.path(), "teacher", &["train.seed=7"]);
    let few = [&STILL[..], &["train.limit=4", "train.batch=4", "train.steps=2"]].concat();
    let student = student(&teacher, &few);
    let out = folder.path().join("student");
    run(&student, &out);
    let found = losses(&out, 0);

    let (begin, trained) =
        (assembled(&student), Trained::open(&Default::default(), &teacher, &Device::Cpu).expect("open"));
    for (at, dataset) in begin.datasets.iter().enumerate() {
        let id = TaskId(at);
        let examples = &dataset.train.examples;
        let texts: Vec<Texts> = examples.iter().map(|example| dataset.train.texts[example.row].clone()).collect();
        let tokens = Packed::new(examples.iter().map(|example| &example.encoded));
        let own = begin.trainer.model.logits(id, &tokens, &mut Pass::evaluation()).expect("logits");
        let rows = |logits: &candle_core::Tensor| -> Vec<Vec<f64>> {
            logits.to_dtype(DType::F64).and_then(|logits| logits.to_vec2()).expect("rows")
        };
        let own = rows(&own);
        let expected = if dataset.spec.kind == "regression" {
            let answers = trained.answer(id, &texts).expect("answers");
            let values: Vec<Label> = answers.into_iter().map(|answer| answer.label).collect();
            let values =
                dataset.task.collate(&values, &tokens, &Device::Cpu).and_then(|values| values.to_vec1::<f32>());
            let values = values.expect("values").into_iter().map(f64::from);
            own.iter().zip(values).map(|(own, value)| (own[0] - value).powi(2)).sum::<f64>() / own.len() as f64
        } else {
            // The teacher's own logits, for answers to tags hold one probability a word.
            let theirs = trained.model_of(id).logits(id, &tokens, &mut Pass::evaluation()).expect("logits");
            let total = |row: &[f64]| row.iter().map(|value| value.exp()).sum::<f64>();
            let of_row = |(own, theirs): (&Vec<f64>, &Vec<f64>)| -> f64 {
                let terms = own.iter().zip(theirs).map(|(q, p)| p.exp() / total(theirs) * (total(own).ln() - q));
                terms.sum()
            };
            own.iter().zip(&rows(&theirs)).map(of_row).sum::<f64>() / own.len() as f64
        };
        assert!((found[at] - expected).abs() < 1e-5, "{}: {} for {expected}", dataset.name, found[at]);
    }
}

#[test]
fn labels_come_in_as_training_goes_on_and_alone_where_there_is_no_teacher() {
    let folder = tempfile::tempdir().expect("a folder");
    let teacher = teacher(folder.path(), "teacher", &[]);
    let run_of = |name: &str, recipe: &Recipe| {
        let out = folder.path().join(name);
        run(recipe, &out);
        out
    };
    let spoilt = "control.shuffle=[\"topic\"]";
    let [plain, shuffled] = [&[][..], &[spoilt]]
        .map(|more| run_of(&format!("annealed {}", more.len()), &student(&teacher, &[&STILL[..], more].concat())));
    assert_eq!(losses(&plain, 0), losses(&shuffled, 0), "λ is 0 in the first step");
    assert_ne!(losses(&plain, 1)[0], losses(&shuffled, 1)[0], "and not in the second");
    // A task that is not named learns from its labels.
    let topic = format!("distill.teachers={{ topic = {:?} }}", teacher.display().to_string());
    let partly = run_of("partly", &recipe(&[&STILL[..], &[&topic]].concat()));
    let alone = run_of("alone", &recipe(&STILL));
    assert_eq!(losses(&partly, 0)[1..], losses(&alone, 0)[1..]);
    assert_ne!(losses(&partly, 0)[0], losses(&alone, 0)[0]);
    // A constant share is in every step.
    let half = ["distill.annealing=false", "distill.label_weight=0.25"];
    let half = run_of("half", &student(&teacher, &[&STILL[..], &half].concat()));
    for task in 0..3 {
        let expected = 0.25 * losses(&alone, 0)[task] + 0.75 * losses(&plain, 0)[task];
        assert!((losses(&half, 0)[task] - expected).abs() < 1e-5, "{task}");
    }
    // A temperature changes classes and tags, and leaves values.
    let warm = run_of("warm", &student(&teacher, &[&STILL[..], &["distill.temperature=3.0"]].concat()));
    assert_eq!(losses(&warm, 0)[1], losses(&plain, 0)[1]);
    assert!(losses(&warm, 0)[0] != losses(&plain, 0)[0] && losses(&warm, 0)[2] != losses(&plain, 0)[2]);
}

/// A teacher that reads fewer tokens, under a rule over gradients, with accumulation: resumed, moved, and replaced.
#[test]
fn a_student_goes_on_with_the_same_bits_and_refuses_another_teacher() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let short = teacher(here, "short", &["train.max_tokens=8"]);
    let more = ["train.steps=6", "weighting.rule=nash", "train.accumulate=2", "evaluation.every=2"];
    let (whole, parts) = (here.join("whole"), here.join("parts"));
    run(&student(&short, &more), &whole);
    run_with_a_break(&student(&short, &more), &parts, 3);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(hash(&whole, file), hash(&parts, file), "{file}");
    }
    // Elsewhere it is the same teacher; by a table of tasks, too.
    let moved = here.join("moved");
    std::fs::rename(&short, &moved).expect("moved");
    drop(new(&student(&moved, &more), &parts, true).expect("the same weights"));
    let by_task =
        ["topic", "mood", "tags"].map(|task| format!("{task} = {:?}", moved.display().to_string())).join(", ");
    let by_task = format!("distill.teachers={{ {by_task} }}");
    drop(new(&recipe(&[&more[..], &[&by_task]].concat()), &parts, true).expect("the same weights"));
    let other = teacher(here, "other", &["train.max_tokens=8", "train.seed=3"]);
    let error = format!("{:#}", new(&student(&other, &more), &parts, true).err().expect("another teacher"));
    assert!(error.contains("the teacher of ") && error.contains("is not the one that the run began with"), "{error}");
    let fewer = format!("distill.teachers={{ topic = {:?} }}", moved.display().to_string());
    let error = format!("{:#}", new(&recipe(&[&more[..], &[&fewer]].concat()), &parts, true).err().expect("fewer"));
    assert!(error.contains("is not there"), "{error}");
    let error = format!("{:#}", new(&recipe(&more), &parts, true).err().expect("no teacher"));
    assert!(error.contains("distill.annealing: true then, left out now"), "{error}");
    // What is trained answers without its teachers.
    std::fs::remove_dir_all(&moved).expect("removed");
    Trained::open(&Default::default(), &parts, &Device::Cpu).expect("opens");
}

#[test]
fn one_folder_of_runs_teaches_each_task_by_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = folder.path().join("all");
    for task in ["topic", "mood"] {
        let only = format!("tasks=[{task:?}]");
        run(&recipe(&["train.steps=4", &only]), &all.join(task));
    }
    let tasks = "tasks=[\"topic\", \"mood\"]";
    let out = folder.path().join("student");
    run(&student(&all, &[tasks]), &out);
    assert!(losses(&out, 3).iter().all(|loss| loss.is_finite()));
    // A task that no run of them has.
    let error = new(&student(&all, &[]), &folder.path().join("other"), false).err().expect("refused");
    assert!(format!("{error:#}").contains("not a run folder"), "{error:#}");
}

#[test]
fn teachers_that_cannot_teach_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let teacher = teacher(here, "teacher", &["tasks=[\"topic\", \"mood\"]"]);
    let refused = |recipe: &Recipe| {
        let run = new(recipe, &here.join("student"), false).and_then(|run| run.execute(&mut Silent));
        format!("{:#}", run.expect_err("refused"))
    };
    let error = refused(&student(&teacher, &[]));
    assert!(error.contains("task `tags`: unknown task `tags`") && error.contains("the run has topic, mood"), "{error}");
    let error = refused(&student(&here.join("nothing"), &[]));
    assert!(error.contains("[distill] teachers") && error.contains("not a run folder"), "{error}");
    let error = refused(&student(&teacher, &["tasks=[\"topic\", \"text\"]"]));
    assert!(error.contains("kind mlm cannot be learnt from a teacher's answers"), "{error}");
    let error = refused(&student(Path::new("arm:single"), &[]));
    assert!(error.contains("`arm:single` is an arm of an experiment"), "{error}");

    let parsed = |set: &str| {
        let text = "tasks = [\"topic\"]\ncheckpoint = \"tiny\"\n";
        format!("{:#}", Recipe::parse(&Default::default(), "x", text, &[set.to_string()]).expect_err("refused"))
    };
    let error = parsed("distill.teachers={ topc = \"x\" }");
    assert!(error.contains("no task `topc`") && error.contains("mean `topic`"), "{error}");
    assert!(parsed("distill.temperature=0.0").contains("above 0, found 0"));
    assert!(parsed("distill.label_weight=1.0").contains("[0, 1), found 1"));
    assert!(parsed("distill.annealing=true").contains("no teacher; write teachers = { topic = \"RUN FOLDER\" }"));
    let error = parsed("distill.teacher=\"x\"");
    assert!(error.contains("unknown key `teacher`") && error.contains("mean `teachers`"), "{error}");
}
