//! A run whose structure changes goes on from any step as if nothing had happened, and opens as it was saved.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use mtl_data::Texts;
use mtl_train::{Ended, Recipe, Registries, Run, RunOptions, Silent, Start, Trained};

use crate::gamble::GAMBLE;
use crate::strategy::{SHATTER, SPLIT_AND_MERGE};
use crate::tiny::{Break, hash, located, metrics, recipe};

/// The built-in members, and the strategies of these tests.
fn registries() -> Arc<Registries> {
    let mut registries = Registries::default();
    for strategy in [SPLIT_AND_MERGE, SHATTER, GAMBLE] {
        registries.strategies = registries.strategies.with(strategy).expect("a new name");
    }
    Arc::new(registries)
}

/// The tiny recipe with a strategy that is not built in, and `overrides`.
fn dynamic(overrides: &[&str]) -> Recipe {
    let text = recipe(&[]).to_toml().expect("TOML");
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    Recipe::parse(&registries(), "dynamic.toml", &text, &overrides).expect("a recipe").0
}

fn begin(recipe: &Recipe, out: &Path, resume: bool) -> Run {
    let options = RunOptions {
        out: out.to_path_buf(),
        start: if resume { Start::Resume } else { Start::New },
        recipe_name: "dynamic".into(),
        fallback: false,
        commit: None,
        device_name: "cpu".into(),
    };
    Run::new(recipe.clone(), &located(recipe), options, &Device::Cpu).expect("a run")
}

fn finish(run: Run) {
    assert!(matches!(run.execute(&mut Silent).expect("trained"), Ended::Finished(_)));
}

#[test]
fn a_break_at_any_step_changes_nothing_under_any_class_of_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    for rule in ["uncertainty", "nash", "moco"] {
        let recipe = dynamic(&[
            "sharing.strategy=split-and-merge",
            "sharing.every=2",
            &format!("weighting.rule={rule}"),
            "train.steps=7",
            "evaluation.every=3",
        ]);
        let whole = folder.path().join(rule);
        finish(begin(&recipe, &whole, false));
        for step in 1..7 {
            let broken = folder.path().join(format!("{rule}-{step}"));
            let ended = begin(&recipe, &broken, false).execute(&mut Break { at: step, now: 0 }).expect("trained");
            assert!(matches!(ended, Ended::Interrupted(at) if at == step));
            finish(begin(&recipe, &broken, true));
            for file in ["model.safetensors", "optimizer.safetensors", "structure.json"] {
                assert_eq!(hash(&broken, file), hash(&whole, file), "{rule}: {file} after a break after step {step}");
            }
            let losses = |out: &Path| metrics(out).iter().map(|line| line["losses"].clone()).collect::<Vec<_>>();
            assert_eq!(losses(&broken), losses(&whole), "{rule}, {step}");
        }
    }
}

#[test]
fn a_run_that_changed_opens_in_the_structure_of_its_kept_step() {
    let folder = tempfile::tempdir().expect("a folder");
    // Apart at the end, one encoder at the first evaluation: whatever step is best has its own structure.
    for (keep, at) in [("last", 3), ("best", 3), ("best", 5)] {
        let out = folder.path().join(format!("{keep}-{at}"));
        let recipe = dynamic(&[
            "sharing.strategy=shatter",
            &format!("sharing.at={at}"),
            "train.steps=6",
            "evaluation.every=2",
            &format!("evaluation.keep={keep}"),
        ]);
        finish(begin(&recipe, &out, false));
        let trained = Trained::open(&registries(), &out, &Device::Cpu).expect("it opens");
        let shared = trained.model().shared();
        let parameters = trained.model().params.iter().count();
        assert!(shared.is_empty() == (parameters > 10), "{shared:?} of {parameters}");
        let (topic, _) = trained.task("topic").expect("a task");
        let predictions = trained.answer(topic, &[Texts::One("the red dog".into())]).expect("predictions");
        assert_eq!(predictions.len(), 1);
    }
}

#[test]
fn a_strategy_that_is_not_in_the_registry_is_not_found_and_one_that_is_gets_suggested() {
    let text = recipe(&[]).to_toml().expect("TOML");
    let parse = |registries: &Arc<Registries>, name: &str| {
        Recipe::parse(registries, "x.toml", &text, &[format!("sharing.strategy={name}")])
    };
    let error = format!("{:#}", parse(&Default::default(), "shatter").expect_err("not built in"));
    assert!(error.contains("unknown strategy `shatter`") && !error.contains("did you mean `shatter`"), "{error}");
    let error = format!("{:#}", parse(&registries(), "shater").expect_err("misspelt"));
    assert!(error.contains("did you mean `shatter`?"), "{error}");
}

#[test]
fn races_that_nobody_wins_leave_the_training_as_it_is_without_them() {
    let folder = tempfile::tempdir().expect("a folder");
    for rule in ["equal", "uncertainty", "nash", "moco"] {
        let rule = format!("weighting.rule={rule}");
        let sets = ["schedule.name=constant", "evaluation.every=0", "evaluation.keep=last", &rule];
        let raced = dynamic(&[&sets[..], &["sharing.strategy=gamble", "sharing.every=6", "train.steps=24"]].concat());
        let out = folder.path().join(rule.replace('.', "-"));
        finish(begin(&raced, &out, false));
        let lines = metrics(&out);
        let events: Vec<&serde_json::Value> = lines.iter().filter_map(|line| line["events"].get(0)).collect();
        // Two steps of the second arm and one of the third, and 5 · 12 examples at a third of 1/12 step each.
        assert!(events.iter().all(|event| event["charged"] == 5), "{events:?}");
        let charged = 5 * events.len();
        assert!(events.len() >= 2 && lines.len() + charged == 24, "{} steps, {events:?}", lines.len());
        let steps = format!("train.steps={}", lines.len());
        let plain = dynamic(&[&sets[..], &["sharing.strategy=hard", &steps]].concat());
        let alone = folder.path().join(format!("hard-{}", rule.replace('.', "-")));
        finish(begin(&plain, &alone, false));
        for file in ["model.safetensors", "optimizer.safetensors"] {
            assert_eq!(hash(&out, file), hash(&alone, file), "{rule}: {file}");
        }
        let told = |line: &serde_json::Value| (line["step"].clone(), line["losses"].clone(), line["weights"].clone());
        assert_eq!(lines.iter().map(told).collect::<Vec<_>>(), metrics(&alone).iter().map(told).collect::<Vec<_>>());
    }
}
