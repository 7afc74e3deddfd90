//! Tasks that share nothing are trained side by side as each would be alone: clipped, paced and kept on its own.

use std::collections::BTreeMap;

use candle_core::Device;
use mtl_task::{Progress, TaskId};
use mtl_train::{Recipe, Silent, Trained};

use crate::tiny::{assembled, hash, new, recipe, run, run_with_a_break};

const APART: [&str; 7] = [
    "optimizer.groups.head.scale=1.0",
    "sharing.strategy=single",
    "train.precision=f64",
    "optimizer.name=sgd",
    "optimizer.momentum=0.0",
    "optimizer.weight_decay=0.0",
    "optimizer.rate=0.5",
];

/// How far one step of rate 0.5 moves each parameter, by its name, as a norm.
fn moves(recipe: &Recipe) -> BTreeMap<String, f64> {
    let mut assembled = assembled(recipe);
    let values = |assembled: &mtl_train::Assembled| -> BTreeMap<String, Vec<f64>> {
        let params = assembled.trainer.model.params.iter();
        let flat = |param: &mtl_backbone::Param| param.tensor().flatten_all()?.copy()?.to_vec1::<f64>();
        params.map(|param| (param.name().to_string(), flat(param).expect("values"))).collect()
    };
    let before = values(&assembled);
    let batch = |(task, dataset): (usize, &mtl_data::Dataset)| {
        mtl_data::collate(TaskId(task), &dataset.train.examples[..4], true)
    };
    let batches = assembled.datasets.iter().enumerate().map(batch).collect();
    assembled
        .trainer
        .step(&[batches], Progress { step: 0, of: 4 }, 0.5, &mtl_train::DevSplits::none())
        .expect("a step");
    let after = values(&assembled);
    let norm = |(name, before): (&String, &Vec<f64>)| {
        let squares = before.iter().zip(&after[name]).map(|(before, after)| (after - before).powi(2));
        (name.clone(), squares.sum::<f64>().sqrt())
    };
    before.iter().map(norm).collect()
}

/// How far the parameters of `task` alone move together.
fn own(moves: &BTreeMap<String, f64>, task: &str) -> f64 {
    let own = moves.iter().filter(|(name, _)| name.starts_with(&format!("task.{task}/")));
    own.map(|(_, moved)| moved * moved).sum::<f64>().sqrt()
}

#[test]
fn each_is_clipped_by_its_own_norm() {
    let found = moves(&recipe(&[&APART[..], &["train.clip=1e-3"]].concat()));
    for task in ["topic", "mood", "tags"] {
        assert!((own(&found, task) - 0.5e-3).abs() < 1e-9, "{task}: {}", own(&found, task));
    }
    // Those that share are clipped as a whole.
    let shared = [&APART[..], &["train.clip=1e-3", "sharing.strategy=hard"]].concat();
    let whole = moves(&recipe(&shared)).values().map(|moved| moved * moved).sum::<f64>().sqrt();
    assert!((whole - 0.5e-3).abs() < 1e-9, "{whole}");
}

#[test]
fn a_task_rate_is_the_rate_of_what_the_task_alone_reaches() {
    for strategy in ["single", "hard"] {
        let strategy = format!("sharing.strategy={strategy}");
        let plain = moves(&recipe(&[&APART[..], &["train.clip=0.0", &strategy]].concat()));
        let rates = "optimizer.task_rates={ topic = 0.0, mood = 1.0 }";
        let paced = moves(&recipe(&[&APART[..], &["train.clip=0.0", &strategy, rates]].concat()));
        for (name, moved) in &plain {
            let factor = match name.split('/').next() {
                Some("task.topic") => 0.,
                Some("task.mood") => 2.,
                _ => 1.,
            };
            assert!((paced[name] - factor * moved).abs() <= 1e-12 * moved, "{name}: {} {moved}", paced[name]);
        }
        assert!(own(&plain, "topic") > 0. && own(&plain, "mood") > 0.);
    }
}

#[test]
fn each_task_keeps_the_step_that_was_best_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let overrides = ["sharing.strategy=single", "evaluation.keep=each", "evaluation.every=1", "train.steps=12"];
    let recipe = recipe(&[&overrides[..], &["optimizer.rate=1e-2"]].concat());
    let whole = folder.path().join("whole");
    let begun = new(&recipe, &whole, false).expect("a run");
    let finished = begun.execute_recorded(&mut Silent).expect("trained").expect("finished");
    let mut steps = Vec::new();
    for (index, name) in recipe.tasks.iter().enumerate() {
        let task = &finished.report.tasks[name];
        let best = finished.evaluations.iter().map(|look| look.dev[index]).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(task.metrics[&task.headline].dev, best, "{name}");
        steps.extend(finished.evaluations.iter().find(|look| look.dev[index] == best).map(|look| look.step));
    }
    assert!(steps.iter().any(|step| *step != steps[0]), "one step was the best for all: {steps:?}");
    assert_eq!(finished.report.best_step, None);

    // What is opened later are the same weights.
    let trained = Trained::open(&Default::default(), &whole, &Device::Cpu).expect("a run");
    for answered in &finished.answered {
        let (id, _) = trained.task(&answered.task).expect("a task");
        assert_eq!(trained.answer(id, &answered.texts).expect("answers"), answered.answers, "{}", answered.task);
    }
    let kept = |out: &std::path::Path| std::fs::read(out.join("checkpoints/each/model.safetensors")).expect("kept");
    for step in [1, 5, 11] {
        let broken = folder.path().join(step.to_string());
        let report = run_with_a_break(&recipe, &broken, step);
        assert_eq!(report.tasks, finished.report.tasks, "behind step {step}");
        assert_eq!(kept(&broken), kept(&whole), "behind step {step}");
        assert_eq!(hash(&broken, "model.safetensors"), hash(&whole, "model.safetensors"));
    }
}

#[test]
fn task_rates_that_cannot_be_are_refused_and_the_others_stay() {
    let refused = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
        let text = "tasks = [\"a\", \"b\"]\ncheckpoint = \"m\"\n";
        format!("{:#}", Recipe::parse(&Default::default(), "my.toml", text, &overrides).expect_err("refused"))
    };
    let error = refused(&["optimizer.task_rates={ a = -1.0 }"]);
    assert!(error.contains("--set optimizer.task_rates") && error.contains("`a` must be at least 0"), "{error}");
    let error = refused(&["optimizer.task_rates={ a = 1.0 }", "optimizer.rate=0.0"]);
    assert!(error.contains("which is 0"), "{error}");
    let error = refused(&["optimizer.task_rates=3"]);
    assert!(error.contains("`task_rates` cannot be 3"), "{error}");
    // Names are known once the datasets are.
    let folder = tempfile::tempdir().expect("a folder");
    let unknown = recipe(&["optimizer.task_rates={ topics = 1.0 }"]);
    let error = format!("{:#}", new(&unknown, folder.path(), false).err().expect("refused"));
    assert!(error.contains("no task `topics`") && error.contains("did you mean `topic`?"), "{error}");
    // A member's keys go with it, common ones stay.
    let kept = recipe(&["optimizer.task_rates={ mood = 1e-3 }", "optimizer.name=sgd"]);
    assert_eq!(kept.task_rates, BTreeMap::from([("mood".to_string(), 1e-3)]));
    let again = Recipe::parse(&Default::default(), "again", &kept.to_toml().expect("TOML"), &[]).expect("a recipe").0;
    assert_eq!(again, kept);
    run(&recipe(&["evaluation.keep=each", "tasks=[\"topic\"]"]), &folder.path().join("one"));
}

#[test]
fn a_strategy_that_says_it_shares_nothing_is_held_to_it() {
    let hard = mtl_sharing::STRATEGIES.iter().find(|entry| entry.name == "hard").expect("it is there");
    let claiming =
        mtl_sharing::Strategy { name: "claiming", shares: false, shares_with: |_| anyhow::Ok(false), ..*hard };
    let mut registries = mtl_train::Registries::default();
    registries.strategies = registries.strategies.with(claiming).expect("a new name");
    let (text, overrides) =
        (recipe(&[]).to_toml().expect("TOML"), ["sharing.strategy=claiming", "weighting.rule=equal"]);
    let recipe = mtl_train::Recipe::parse(&registries.into(), "tiny.toml", &text, &overrides.map(String::from));
    let recipe = recipe.expect("a recipe").0;
    let error = mtl_train::assemble(&recipe, &crate::tiny::located(&recipe), &Device::Cpu).err().expect("refused");
    let error = format!("{error:#}");
    assert!(error.contains("`claiming` says that its tasks share nothing") && error.contains("`shared/"), "{error}");
}

#[test]
fn a_step_is_chosen_by_the_tasks_whose_labels_are_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut told_apart = false;
    let cases = ["control.shuffle=[\"mood\", \"tags\"]", "control.noise=[\"tags\"]"];
    for (case, spoilt) in cases.into_iter().cycle().take(6).enumerate() {
        let seed = format!("train.seed={case}");
        let overrides = ["evaluation.every=1", "train.steps=12", "optimizer.rate=1e-2", &seed, spoilt];
        let recipe = recipe(&overrides);
        let run = new(&recipe, &folder.path().join(case.to_string()), false).expect("a run");
        let finished = run.execute_recorded(&mut Silent).expect("trained").expect("finished");
        // The first step with the best mean over these tasks.
        let best_of = |of: &dyn Fn(&str) -> bool| {
            let mut best: Option<(f64, usize)> = None;
            for look in &finished.evaluations {
                let counted = recipe.tasks.iter().zip(&look.dev).filter(|(name, _)| of(name));
                let scores: Vec<f64> = counted.map(|(_, score)| *score).collect();
                let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                if best.is_none_or(|(score, _)| mean > score) {
                    best = Some((mean, look.step));
                }
            }
            best.map(|(_, step)| step)
        };
        assert_eq!(finished.report.best_step, best_of(&|name| !recipe.control.spoils(name)), "{spoilt}");
        told_apart |= best_of(&|name| !recipe.control.spoils(name)) != best_of(&|_| true);
    }
    assert!(told_apart, "another step is best for all tasks");
}
