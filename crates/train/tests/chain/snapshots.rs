//! A snapshot of its own for every task of a shared run, and tasks that leave the training once they get no better.

use std::path::Path;

use candle_core::Device;
use mtl_train::{Ended, Finished, Recipe, Registries, Silent, Start, Trained};

use crate::tiny::{Break, hash, metrics, new, recipe, run, run_with_a_break, started};

const EACH: [&str; 4] = ["evaluation.keep=each", "evaluation.every=1", "train.steps=10", "optimizer.rate=1e-2"];

fn each(overrides: &[&str]) -> Recipe {
    recipe(&[&EACH[..], overrides].concat())
}

fn finished(recipe: &Recipe, out: &Path) -> Finished {
    new(recipe, out, false).expect("a run").execute_recorded(&mut Silent).expect("trained").expect("finished")
}

/// The weights of every task's snapshot in `out`, or of what it keeps where tasks share nothing.
fn snapshots(out: &Path, tasks: usize) -> Vec<Vec<u8>> {
    let read = |task| {
        if let Ok(own) = std::fs::read(out.join(format!("checkpoints/each-{task}.safetensors"))) {
            return own;
        }
        let folder = out.join(format!("checkpoints/each-{task}"));
        ["model.safetensors", "sharing.safetensors", "state.json"]
            .iter()
            .flat_map(|file| std::fs::read(folder.join(file)).expect(file))
            .collect()
    };
    (0..tasks).map(read).collect()
}

#[test]
fn tasks_that_share_keep_the_step_that_was_best_for_each() {
    for strategy in ["hard", "cross-stitch", "mtl-lora", "mmoe"] {
        let folder = tempfile::tempdir().expect("a folder");
        let recipe = each(&[&format!("sharing.strategy={strategy}"), "weighting.rule=equal"]);
        let found = finished(&recipe, folder.path());
        let mut steps = Vec::new();
        for (index, name) in recipe.tasks.iter().enumerate() {
            let task = &found.report.tasks[name];
            let best = found.evaluations.iter().map(|look| look.dev[index]).fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(task.metrics[&task.headline].dev, best, "{strategy}: {name}");
            let step = found.evaluations.iter().find(|look| look.dev[index] == best).expect("a look").step;
            assert_eq!((found.report.kept[name].step, found.report.kept[name].left), (step, None));
            steps.push(step);
        }
        assert_eq!(found.report.best_step, None);
        // What is opened later are the same weights, alone and in one pass.
        let trained = Trained::open(&Default::default(), folder.path(), &Device::Cpu).expect("a run");
        let id = |name: &str| trained.task(name).expect("a task").0;
        let asked: Vec<_> = found.answered.iter().map(|task| (id(&task.task), task.texts.as_slice())).collect();
        let answers = trained.answer_each(&asked).expect("answers");
        for (answered, found) in found.answered.iter().zip(&answers) {
            assert_eq!(*found, answered.answers, "{strategy}: {}", answered.task);
            let alone = trained.answer(id(&answered.task), &answered.texts).expect("answers");
            assert_eq!(alone, answered.answers, "{strategy}: {}", answered.task);
        }
        let same = |a: usize, b: usize| {
            std::ptr::eq(trained.model_of(mtl_task::TaskId(a)), trained.model_of(mtl_task::TaskId(b)))
        };
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            assert_eq!(same(a, b), steps[a] == steps[b], "{strategy}: a model for each step that is kept: {steps:?}");
        }
    }
}

#[test]
fn a_run_with_snapshots_goes_on_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = each(&["weighting.rule=nash", "train.save_every=3"]);
    let whole = folder.path().join("whole");
    let report = run(&recipe, &whole);
    let kept = snapshots(&whole, 3);
    for step in [1, 4, 8] {
        let broken = folder.path().join(step.to_string());
        let resumed = run_with_a_break(&recipe, &broken, step);
        assert_eq!((&resumed.tasks, &resumed.kept), (&report.tasks, &report.kept), "behind step {step}");
        assert_eq!(snapshots(&broken, 3), kept, "behind step {step}");
        assert_eq!(hash(&broken, "model.safetensors"), hash(&whole, "model.safetensors"));
    }
    // The newest checkpoint is damaged, and its snapshots are of later steps than the one before it.
    let damaged = folder.path().join("damaged");
    let begun = new(&recipe, &damaged, false).expect("a run").execute(&mut Break { at: 8, now: 0 }).expect("trained");
    assert!(matches!(begun, Ended::Interrupted(8)));
    std::fs::write(damaged.join("checkpoints/last/model.safetensors"), "no").expect("written");
    std::fs::create_dir_all(damaged.join("checkpoints/.each-0.new")).expect("made");
    std::fs::write(damaged.join("checkpoints/.each-0.new/model.safetensors"), "part").expect("written");
    let again = new(&recipe, &damaged, true).expect("resumed");
    assert!(!damaged.join("checkpoints/.each-0.new").exists(), "what a killed save left is swept");
    again.execute(&mut Silent).expect("trained");
    assert_eq!(snapshots(&damaged, 3), kept);
    assert_eq!(hash(&damaged, "model.safetensors"), hash(&whole, "model.safetensors"));
    // Beginning anew takes the snapshots along.
    started(&crate::tiny::recipe(&[]), &whole, Start::Fresh).expect("anew");
    assert!(!whole.join("checkpoints/each-0").exists());
}

#[test]
fn a_snapshot_that_is_damaged_or_missing_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path();
    run(&each(&[]), out);
    let open = || Trained::open(&Default::default(), out, &Device::Cpu);
    open().expect("whole");
    let place = out.join("checkpoints/each-1/model.safetensors");
    let sound = std::fs::read(&place).expect("there");
    std::fs::write(&place, &sound[..sound.len() - 4]).expect("written");
    let error = format!("{:#}", open().err().expect("damaged"));
    assert!(error.contains("each-1") && error.contains("damaged") && error.contains("backup"), "{error}");
    std::fs::remove_dir_all(out.join("checkpoints/each-1")).expect("removed");
    let error = format!("{:#}", open().err().expect("missing"));
    assert!(error.contains("each-1") && error.contains("`mood` are missing"), "{error}");
}

/// A run in which `topic` leaves at once when it gets no better.
fn leaving(overrides: &[&str]) -> Recipe {
    let set = ["evaluation.every=1", "train.steps=9", "optimizer.rate=1e-2", "task.topic.patience=1"];
    recipe(&[&set[..], overrides].concat())
}

/// Whether `metrics.jsonl` in `out` shows that `topic` left after `left` steps and nobody else did.
fn shown(out: &Path, left: usize, one: bool) {
    for line in metrics(out) {
        let (step, tasks) = (line["step"].as_u64().expect("a step") as usize, &line["tasks"]);
        let trains = tasks.as_array().expect("tasks").contains(&0.into());
        let said = line["left"].as_array().is_some_and(|left| left.contains(&0.into()));
        assert_eq!(said, step >= left, "{line}");
        assert!(!said || !trains, "{line}");
        assert!(one || trains == (step < left), "{line}");
    }
}

#[test]
fn a_task_out_of_patience_leaves_and_the_rules_go_on_among_the_others() {
    let rules = Registries::default().rules;
    let mut cells: Vec<Vec<String>> = rules.iter().map(|rule| vec![format!("weighting.rule={}", rule.name)]).collect();
    // The one has settings for each task, the other needs four.
    cells.retain(|cell| !cell[0].ends_with("=fixed") && !cell[0].ends_with("=krum"));
    for strategy in ["soft", "cross-stitch", "single", "ple", "mtl-lora"] {
        cells.push(vec![format!("sharing.strategy={strategy}"), "weighting.rule=equal".into()]);
    }
    cells.push(["weighting.rule=uncertainty", "train.log_gradients=0"].map(String::from).to_vec());
    cells.push(["weighting.rule=famo", "train.log_gradients=0"].map(String::from).to_vec());
    cells.push(["weighting.rule=dwa", "train.step=one"].map(String::from).to_vec());
    cells.push(["weighting.rule=fixed", "weighting.weights=[1.0, 2.0, 3.0]"].map(String::from).to_vec());
    let mut seen = 0;
    for cell in &cells {
        let folder = tempfile::tempdir().expect("a folder");
        let overrides: Vec<&str> = cell.iter().map(String::as_str).collect();
        let report = run(&leaving(&overrides), folder.path());
        let kept = report.kept["topic"];
        let left = kept.left.unwrap_or(9);
        assert!(kept.step < left || kept.left.is_none(), "{cell:?}: {kept:?}");
        shown(folder.path(), left, cell.iter().any(|key| key == "train.step=one"));
        assert!(["mood", "tags"].iter().all(|task| report.kept[*task].left.is_none()));
        assert!(report.to_markdown(&Default::default()).contains("left the training") == kept.left.is_some());
        seen += usize::from(left < 9);
    }
    assert!(3 * seen > 2 * cells.len(), "only {seen} of {} left", cells.len());
}

#[test]
fn kills_around_a_leave_change_no_bit() {
    let cells: [&[&str]; 5] = [
        &["weighting.rule=nash"],
        &["weighting.rule=famo", "train.log_gradients=0"],
        &["weighting.rule=gradnorm", "train.save_every=2"],
        &["sharing.strategy=ple", "weighting.rule=dwa", "train.step=one"],
        &["sharing.strategy=soft", "weighting.rule=equal"],
    ];
    for cell in cells {
        let folder = tempfile::tempdir().expect("a folder");
        let (recipe, whole) = (leaving(cell), folder.path().join("whole"));
        let report = run(&recipe, &whole);
        let left = report.kept["topic"].left.expect("it leaves");
        for step in [left - 1, left, left + 1] {
            let broken = folder.path().join(step.to_string());
            let resumed = run_with_a_break(&recipe, &broken, step);
            assert_eq!((&resumed.tasks, &resumed.kept), (&report.tasks, &report.kept), "{cell:?} behind {step}");
            assert_eq!(snapshots(&broken, 3), snapshots(&whole, 3), "{cell:?} behind {step}");
            for file in ["model.safetensors", "optimizer.safetensors"] {
                assert_eq!(hash(&broken, file), hash(&whole, file), "{cell:?} behind {step}");
            }
            shown(&broken, left, cell.contains(&"train.step=one"));
        }
    }
}

#[test]
fn what_a_task_alone_trains_stands_still_once_it_left() {
    let set = ["task.topic.patience=1", "task.mood.patience=1", "evaluation.every=1", "train.steps=6"];
    let still =
        ["optimizer.rate=1e-2", "sharing.strategy=soft", "weighting.rule=equal", "evaluation.keep_evaluations=true"];
    let folder = tempfile::tempdir().expect("a folder");
    let report = run(&recipe(&[&set[..], &still].concat()), folder.path());
    let left = report.kept["topic"].left.expect("it leaves");
    assert!(left < 6, "{left}");
    let own = |step: usize| {
        let file = folder.path().join(format!("checkpoints/step-{step}/model.safetensors"));
        let tensors = mtl_train::read_tensors(&file).expect("tensors");
        let of = |task: &str| -> Vec<f32> {
            let names = tensors.iter().filter(|(name, _)| name.starts_with(&format!("task.{task}/")));
            names
                .flat_map(|(_, tensor)| tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("values"))
                .collect()
        };
        (of("topic"), of("tags"))
    };
    let (then, end) = (own(left), own(6));
    assert!(!then.0.is_empty() && then.0 == end.0, "the penalty pulls at nobody who left");
    assert_ne!(then.1, end.1);
}

#[test]
fn when_all_have_left_training_ends() {
    let patient = ["topic", "mood", "tags"].map(|task| format!("task.{task}.patience=1"));
    let patient: Vec<&str> = patient.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&[&patient[..], &["optimizer.rate=0.0", "evaluation.every=1", "train.steps=50"]].concat());
    let report = run(&recipe, folder.path());
    assert_eq!(report.steps, 2, "one evaluation to set the mark, one without a better one");
    assert!(report.kept.values().all(|kept| (kept.step, kept.left) == (1, Some(2))));
}
