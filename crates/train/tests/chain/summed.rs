//! Steps of rules over losses that keep no task's gradient: the same training, with less in memory and in the log.

use std::collections::BTreeMap;
use std::path::Path;

use mtl_task::{Progress, TaskId};
use mtl_train::{Assembled, DevSplits, Recipe, Registries, StepReport};
use mtl_weighting::Class;

use crate::tiny::{assembled, hash, metrics, recipe, run, run_with_a_break, states};

const EXACT: [&str; 6] = [
    "train.precision=f64",
    "train.clip=0.5",
    "optimizer.name=sgd",
    "optimizer.momentum=0.5",
    "optimizer.rate=0.005",
    "weighting.rule=equal",
];

fn values(assembled: &Assembled) -> BTreeMap<String, Vec<f64>> {
    let params = assembled.trainer.model.params.iter();
    let flat = |param: &mtl_backbone::Param| param.tensor().flatten_all()?.copy()?.to_vec1::<f64>();
    params.map(|param| (param.name().to_string(), flat(param).expect("values"))).collect()
}

/// Takes three steps by `overrides`, one of them without the last task.
fn trained(overrides: &[&str]) -> (Assembled, Vec<StepReport>) {
    let mut assembled = assembled(&recipe(&[&EXACT[..], overrides].concat()));
    let step = |step: usize| {
        let datasets = assembled.datasets.iter().enumerate().take(if step == 1 { 2 } else { 3 });
        let batches = datasets.map(|(task, dataset)| {
            mtl_data::collate(TaskId(task), &dataset.train.examples[5 * step..5 * step + 5], true)
        });
        let batches = vec![batches.collect::<Vec<_>>(); assembled.trainer.mini_batches()];
        assembled.trainer.step(&batches, Progress { step, of: 3 }, 0.005, &DevSplits::none()).expect("a step")
    };
    let reports = (0..3).map(step).collect();
    (assembled, reports)
}

fn the_same(what: &str, overrides: &[&str]) {
    let (each, kept) = trained(&[overrides, &["train.log_gradients=1"]].concat());
    let (sum, saved) = trained(&[overrides, &["train.log_gradients=0"]].concat());
    for (kept, saved) in kept.iter().zip(&saved) {
        assert!(!kept.norms.is_empty() && saved.norms.is_empty() && saved.cosines.is_empty(), "{what}");
        assert_eq!((&kept.tasks, &kept.outcomes), (&saved.tasks, &saved.outcomes), "{what}");
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(1e-3);
        assert!(near(kept.gradient_norm, saved.gradient_norm), "{what}: {kept:?} {saved:?}");
        for (a, b) in kept.losses.iter().chain(&kept.weights).zip(saved.losses.iter().chain(&saved.weights)) {
            assert!(near(*a, *b), "{what}: {kept:?} {saved:?}");
        }
    }
    let (each, sum) = (values(&each), values(&sum));
    for (name, each) in &each {
        for (a, b) in each.iter().zip(&sum[name]) {
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1e-3), "{what}: {name}: {a} {b}");
        }
    }
}

#[test]
fn every_rule_over_losses_takes_the_same_steps_by_the_sum() {
    for rule in Registries::default().rules.iter().filter(|rule| rule.class == Class::Losses) {
        let set = format!("weighting.rule={}", rule.name);
        let weights = match rule.name {
            "fixed" => vec!["weighting.weights=[0.5, 2.0, 0.0]"],
            "stch" => vec!["weighting.warmup=0"],
            _ => Vec::new(),
        };
        the_same(rule.name, &[&[set.as_str()], &weights[..]].concat());
        the_same(rule.name, &[&[set.as_str(), "train.accumulate=2"], &weights[..]].concat());
    }
}

#[test]
fn every_strategy_takes_the_same_steps_by_the_sum() {
    // Counting conflicts, `recon` needs each task's gradient to the end of its search.
    for entry in mtl_sharing::STRATEGIES.iter().filter(|entry| entry.name != "recon") {
        let set = format!("sharing.strategy={}", entry.name);
        let fitted = match entry.name {
            "single-small" => vec!["sharing.tolerance=0.5"],
            // Looking for groups, it needs each task's gradient.
            "groups" => vec!["sharing.partition=[[\"topic\", \"mood\"], [\"tags\"]]"],
            _ => Vec::new(),
        };
        // One that knows its weights before the losses, one that does not.
        for rule in ["weighting.rule=uncertainty", "weighting.rule=gls"] {
            the_same(entry.name, &[&[set.as_str(), rule], &fitted[..]].concat());
        }
    }
}

#[test]
fn less_is_kept_and_a_step_that_logs_keeps_each() {
    let (each, _) = trained(&["train.log_gradients=1"]);
    let (sum, _) = trained(&["train.log_gradients=0"]);
    let (each, sum) = (each.trainer.pooled_values(), sum.trainer.pooled_values());
    assert!(sum > 0 && each == 3 * sum, "{each} values kept for three tasks, {sum} for their sum");
    let (_, reports) = trained(&["train.log_gradients=2"]);
    assert_eq!(reports.iter().map(|report| report.norms.len()).collect::<Vec<_>>(), [3, 0, 3]);
}

#[test]
fn the_log_lacks_what_was_not_seen_and_a_break_changes_no_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    for rule in ["uncertainty", "famo"] {
        let rule_set = format!("weighting.rule={rule}");
        let recipe = recipe(&[&rule_set, "train.log_gradients=3", "train.steps=7", "optimizer.rate=1e-2"]);
        let whole = folder.path().join(rule);
        run(&recipe, &whole);
        for (step, line) in metrics(&whole).iter().enumerate() {
            let logged = step.is_multiple_of(3);
            assert_eq!(line["gradient_norms"].as_array().map(Vec::len), logged.then_some(3), "{rule}: {line}");
            assert_eq!(line["cosines"].as_array().map(Vec::len), logged.then_some(3), "{rule}: {line}");
            assert!(line["gradient_norm"].as_f64().is_some_and(|norm| norm > 0.), "{rule}: {line}");
        }
        for step in [1, 3, 5] {
            let broken = folder.path().join(format!("{rule}-{step}"));
            run_with_a_break(&recipe, &broken, step);
            same_files(&broken, &whole);
        }
    }
}

fn same_files(a: &Path, b: &Path) {
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(hash(a, file), hash(b, file), "{file}");
    }
    assert_eq!(states(a), states(b));
}

#[test]
fn what_needs_each_gradient_is_refused_with_the_remedy() {
    let refused = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
        let text = "tasks = [\"a\", \"b\"]\ncheckpoint = \"m\"\n[train]\nlog_gradients = 0\n";
        format!("{:#}", Recipe::parse(&Default::default(), "my.toml", text, &overrides).expect_err("refused"))
    };
    for rule in ["nash", "pcgrad", "graddrop", "auto-lambda"] {
        let error = refused(&[&format!("weighting.rule={rule}")]);
        assert!(error.contains("my.toml:4:1") && error.contains(rule) && error.contains("leave"), "{error}");
    }
    for policy in ["own", "normalised"] {
        let error = refused(&[&format!("weighting.private={policy}")]);
        assert!(error.contains("my.toml:4:1") && error.contains("weighting.private = \"auto\""), "{error}");
    }
}
