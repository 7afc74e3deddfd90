//! Runs and their folders: the same bits, checkpoints, stops, seals, and what is refused.

use std::path::Path;

use candle_core::Device;
use mtl_data::Texts;
use mtl_train::{Observer, Plan, Silent, Trained, assemble};

use crate::tiny::{Break, assembled, hash, located, metrics, new, recipe, run, run_with_a_break};

fn trained_by(threads: usize, overrides: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| run(&recipe(overrides), folder.path()));
    hash(folder.path(), "model.safetensors")
}

#[test]
fn one_seed_gives_one_set_of_bits_for_any_number_of_threads() {
    let nash = ["weighting.rule=nash", "train.seed=5"];
    let first = trained_by(1, &nash);
    assert_eq!(trained_by(1, &nash), first);
    assert_eq!(trained_by(2, &nash), first);
    assert_eq!(trained_by(5, &nash), first);
    assert_ne!(trained_by(1, &["weighting.rule=nash", "train.seed=6"]), first);
}

#[test]
fn a_break_at_any_step_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["weighting.rule=nash", "weighting.refresh=2", "evaluation.every=2", "train.steps=6"]);
    let whole = folder.path().join("whole");
    let report = run(&recipe, &whole);
    for step in 1..6 {
        let broken = folder.path().join(step.to_string());
        let resumed = run_with_a_break(&recipe, &broken, step);
        for file in ["model.safetensors", "optimizer.safetensors"] {
            assert_eq!(hash(&broken, file), hash(&whole, file), "{file} after a break behind step {step}");
        }
        assert_eq!((&resumed.tasks, resumed.best_step), (&report.tasks, report.best_step), "behind step {step}");
        let losses = |out: &Path| metrics(out).iter().map(|line| line["losses"].clone()).collect::<Vec<_>>();
        assert_eq!(losses(&broken), losses(&whole));
    }
}

#[test]
fn training_stops_when_dev_gets_no_better() {
    let folder = tempfile::tempdir().expect("a folder");
    let still = ["optimizer.rate=0.0", "evaluation.every=1", "evaluation.patience=2", "train.steps=20"];
    let report = run(&recipe(&still), folder.path());
    assert_eq!((report.steps, report.best_step), (3, Some(1)), "one look to set the mark, two without a better one");
    assert_eq!(metrics(folder.path()).len(), 3);
    // Resuming what has stopped does not train on.
    let again = new(&recipe(&still), folder.path(), true).expect("resumed").execute(&mut Silent).expect("ended");
    assert!(matches!(again, mtl_train::Ended::Finished(report) if report.steps == 3));
}

#[test]
fn a_sealed_test_stays_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sealed, open) = (folder.path().join("sealed"), folder.path().join("open"));
    let report = run(&recipe(&["evaluation.test=sealed", "evaluation.every=1"]), &sealed);
    assert_eq!(report.test_opened_at, None);
    assert!(report.tasks.values().all(|task| task.test.is_none() && task.n_test == 0));
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(sealed.join("report.json")).expect("a report")).expect("JSON");
    assert!(written["test_opened_at"].is_null() && written["tasks"]["topic"]["test"].is_null(), "{written}");

    let report = run(&recipe(&["evaluation.every=1"]), &open);
    assert!(report.test_opened_at.is_some());
    assert!(report.tasks.values().all(|task| task.test.is_some() && task.n_test == 12));
    assert_eq!(
        hash(&open, "model.safetensors"),
        hash(&sealed, "model.safetensors"),
        "the seal guards, it trains nothing"
    );

    // While training goes on, nobody has looked.
    let run = new(&recipe(&["evaluation.every=1"]), &folder.path().join("begun"), false).expect("a run");
    assert!(run.assembled().datasets.iter().all(|dataset| dataset.test.opened_at().is_none()));
}

#[test]
fn a_folder_belongs_to_one_run_of_one_recipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |overrides: &[&str], out: &Path, resume: bool| {
        format!("{:#}", new(&recipe(overrides), out, resume).err().expect("refused"))
    };
    let out = folder.path().join("run");
    let error = refused(&[], &out, true);
    assert!(error.contains("no checkpoint to resume from"), "{error}");
    run(&recipe(&[]), &out);
    let before = hash(&out, "model.safetensors");
    let error = refused(&[], &out, false);
    assert!(error.contains("already holds a run") && error.contains("--out"), "{error}");
    let error = refused(&["train.seed=1"], &out, true);
    assert!(error.contains("of another recipe") && error.contains("recipe.toml"), "{error}");
    assert_eq!(hash(&out, "model.safetensors"), before);

    let busy = new(&recipe(&[]), &folder.path().join("busy"), false).expect("a run");
    let error = refused(&[], &folder.path().join("busy"), false);
    assert!(error.contains(&std::process::id().to_string()) && error.contains("is training in it"), "{error}");
    drop(busy);
    new(&recipe(&[]), &folder.path().join("busy"), false).expect("free again");
}

/// Keeps what a run says of itself before it begins.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn begin(&mut self, plan: &Plan) {
        self.0.clone_from(&plan.notes);
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_aloud_and_two_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["train.save_every=1"]);
    let interrupted = |name: &str| {
        let out = folder.path().join(name);
        new(&recipe, &out, false).expect("a run").execute(&mut Break { at: 2, now: 0 }).expect("interrupted");
        out
    };
    let damage = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).expect("written");
    };
    let whole = interrupted("whole");
    new(&recipe, &whole, true).expect("resumed").execute(&mut Silent).expect("trained");
    let left: Vec<_> = std::fs::read_dir(whole.join("checkpoints")).expect("a folder").collect();
    assert_eq!(left.len(), 2, "a finished run keeps best and last: {left:?}");
    for file in ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "state.json", "manifest.json"] {
        let out = interrupted(file);
        damage(&out.join("checkpoints/last").join(file));
        let mut notes = Notes::default();
        new(&recipe, &out, true).expect("resumed").execute(&mut notes).expect("trained");
        let named = if file == "manifest.json" { "checkpoints/last" } else { file };
        let said = |note: &String| note.contains(named) && note.contains("last.previous instead, after step 1");
        assert!(notes.0.iter().any(said), "{file}: {:?}", notes.0);
        assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"));

        let out = interrupted(&format!("both {file}"));
        damage(&out.join("checkpoints/last").join(file));
        damage(&out.join("checkpoints/last.previous").join(file));
        let error = format!("{:#}", new(&recipe, &out, true).err().expect("damaged"));
        assert!(error.contains(named) && error.contains("last.previous") && error.contains("backup"), "{error}");
    }
    // A kill between the two renames of a save leaves the newest checkpoint under the name it was written under.
    let out = interrupted("killed");
    let checkpoints = out.join("checkpoints");
    std::fs::remove_dir_all(checkpoints.join("last.previous")).expect("removed");
    std::fs::rename(checkpoints.join("last"), checkpoints.join(".last.new")).expect("renamed");
    Trained::open(&Default::default(), &out, &Device::Cpu).expect("what is found can be opened");
    assert!(checkpoints.join(".last.new").exists(), "opening changes nothing");
    new(&recipe, &out, true).expect("resumed").execute(&mut Silent).expect("trained");
    assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"));
}

#[test]
fn a_finished_run_opens_and_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    run(&recipe(&[]), folder.path());
    let trained = Trained::open(&Default::default(), folder.path(), &Device::Cpu).expect("a run");
    let texts = ["suba sube", "moba"].map(|text| Texts::One(text.into()));
    let (topic, task) = trained.task("topic").expect("a task");
    let answers = trained.answer(topic, &texts).expect("answers");
    assert!(answers.iter().all(|answer| (answer.scores.iter().sum::<f32>() - 1.).abs() < 1e-5));
    assert_eq!((answers.len(), task.names().len()), (2, 4));
    // Tasks asked together answer as each alone, whether or not their texts come to the same tokens.
    let (id, words) = (
        |name: &str| trained.task(name).expect("a task").0,
        |text: &Texts| match text {
            Texts::One(text) => Texts::Tokens(text.split(' ').map(String::from).collect()),
            other => other.clone(),
        },
    );
    let words: Vec<Texts> = texts.iter().map(words).collect();
    let pairs = [Texts::Pair("suba".into(), "moba".into())];
    let asked = [(id("tags"), &words[..]), (topic, &texts[..]), (id("mood"), &pairs[..]), (topic, &pairs[..])];
    let together = trained.answer_each(&asked).expect("answers");
    assert_eq!(together.len(), asked.len());
    for ((id, texts), together) in asked.iter().zip(&together) {
        assert_eq!(together, &trained.answer(*id, texts).expect("answers"));
    }
    assert_eq!(together[1], answers);
    let error = trained.task("topics").err().expect("no such task").to_string();
    assert!(error.contains("did you mean `topic`?") && error.contains("topic, mood, tags"), "{error}");
    let error = Trained::open(&Default::default(), &folder.path().join("none"), &Device::Cpu)
        .err()
        .expect("no run")
        .to_string();
    assert!(error.contains("not a run folder"), "{error}");
}

#[test]
fn threads_that_share_a_model_get_the_bits_that_one_gets() {
    let folder = tempfile::tempdir().expect("a folder");
    run(&recipe(&["weighting.rule=nash"]), folder.path());
    let trained = Trained::open(&Default::default(), folder.path(), &Device::Cpu).expect("a run");
    let texts: Vec<Texts> =
        (0..40).map(|row| Texts::One(["suba", "sube", "moba", "fi"][..1 + row % 4].join(" "))).collect();
    let names = ["topic", "mood", "tags"];
    let answers = |name: &str| trained.answer(trained.task(name).expect("a task").0, &texts).expect("answers");
    let alone = names.map(answers);
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|at| scope.spawn(move || answers(names[at % 3]))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for (at, answers) in together.iter().enumerate() {
        assert_eq!(*answers, alone[at % 3], "thread {at}");
    }
}

#[test]
fn a_run_is_opened_in_the_arithmetic_that_it_was_trained_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = Vec::new();
    for (name, precision, path) in
        [("kernel", "f32", "auto"), ("plain", "f32", "reference"), ("half", "bf16", "reference")]
    {
        let recipe = recipe(&[&format!("train.precision={precision}"), &format!("train.path={path}")]);
        let out = folder.path().join(name);
        let run = new(&recipe, &out, false).expect("a run");
        let finished = run.execute_recorded(&mut Silent).expect("trained").expect("finished");
        let trained = Trained::open(&Default::default(), &out, &Device::Cpu).expect("a run");
        for answered in &finished.answered {
            let (id, _) = trained.task(&answered.task).expect("a task");
            assert_eq!(trained.answer(id, &answered.texts).expect("answers"), answered.answers, "{name}");
        }
        seen.push(finished.answered.into_iter().map(|answered| answered.answers).collect::<Vec<_>>());
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "three arithmetics differ in the last digits");
}

#[test]
fn what_does_not_fit_the_encoder_is_refused() {
    let refused = |overrides: &[&str]| {
        let recipe = recipe(overrides);
        format!("{:#}", assemble(&recipe, &located(&recipe), &Device::Cpu).err().expect("refused"))
    };
    let error = refused(&["train.max_tokens=33"]);
    assert!(error.contains("train.max_tokens is 33") && error.contains("at most 32 tokens"), "{error}");
    let error = refused(&["weighting.rule=nash", "weighting.over=[\"layer.7\"]"]);
    assert!(error.contains("layer.7") && error.contains("shared/layer.0"), "{error}");
    assert_eq!(assembled(&recipe(&[])).datasets.len(), 3);
}

/// The reference path rounds on any processor, and moves no parameter out of f32.
#[test]
fn training_in_bf16_rounds_and_keeps_parameters_in_f32() {
    let losses = |overrides: &[&str]| {
        let folder = tempfile::tempdir().expect("a folder");
        let recipe = recipe(&[&["train.path=reference"], overrides].concat());
        run(&recipe, folder.path());
        let params = assembled(&recipe).trainer.model.params;
        assert!(params.iter().all(|param| param.tensor().dtype() == candle_core::DType::F32));
        let lines = metrics(folder.path());
        let losses = lines.iter().filter_map(|line| line["losses"].as_array());
        losses.flatten().filter_map(serde_json::Value::as_f64).collect::<Vec<f64>>()
    };
    let (exact, rounded) = (losses(&[]), losses(&["train.precision=bf16"]));
    assert!(!exact.is_empty() && exact.len() == rounded.len() && exact != rounded, "bf16 rounds");
    for (exact, rounded) in exact.iter().zip(&rounded) {
        assert!((exact - rounded).abs() <= 5e-2 * exact.abs().max(1.), "{rounded} in bf16, {exact} in f32");
    }
}
