//! Every strategy under a rule of each class by candle's own operations, as on a GPU: first steps, a checkpoint and
//! what goes on from it, findings, diagnosis, predictions. On the GPU that `MTL_DEVICE` names, else on the processor.
#![allow(clippy::print_stdout, reason = "what is skipped is said aloud")]

use std::path::Path;

use candle_core::Device;
use mtl_backbone::DeviceName;
use mtl_data::Texts;
use mtl_sharing::STRATEGIES;
use mtl_task::Reads;
use mtl_train::diagnose::{Diagnostics, Settings};
use mtl_train::{Observer, Recipe, Registries, Silent, Trained};
use mtl_weighting::Class;

use crate::strategies::tiny;
use crate::tiny::{Break, metrics, new_on};

/// By candle's operations, and without dropout, whose places are numbered otherwise in padded batches.
const PLAIN: [&str; 4] = ["train.path=reference", "train.dropout=0.0", "head.dropout=0.0", "evaluation.every=2"];

fn trained(recipe: &Recipe, out: &Path, device: &Device, observer: &mut dyn Observer) {
    let cut = new_on(recipe, out, false, device).expect("a run").execute(&mut Break { at: 2, now: 0 });
    cut.unwrap_or_else(|error| panic!("{}: {error:#}", out.display()));
    let whole = new_on(recipe, out, true, device).expect("resumed").execute(observer);
    whole.unwrap_or_else(|error| panic!("{}: {error:#}", out.display()));
}

/// The losses of the first step.
fn first_losses(out: &Path) -> Vec<f64> {
    let lines = metrics(out);
    lines[0]["losses"].as_array().expect("losses").iter().map(|loss| loss.as_f64().expect("a number")).collect()
}

#[test]
fn every_strategy_goes_by_candles_own_operations() {
    let gpu = DeviceName::under_test().expect("the device that MTL_DEVICE names");
    if gpu.is_none() {
        println!("skipped: MTL_DEVICE names no GPU, so the processor walks alone");
    }
    let device = gpu.clone().unwrap_or(Device::Cpu);
    let registries = Registries::default();
    for strategy in STRATEGIES {
        for (class, rule) in [(Class::Losses, "uncertainty"), (Class::Gram, "nash"), (Class::Jacobian, "graddrop")] {
            assert_eq!(registries.rules.find(rule).expect("a rule").class, class, "{rule}");
            if class != Class::Losses && !strategy.shares {
                continue;
            }
            let name = format!("weighting.rule={rule}");
            let recipe = tiny(strategy.name, &[&PLAIN[..], &[&name]].concat());
            let (folder, what) = (tempfile::tempdir().expect("a folder"), format!("{}, {rule}", strategy.name));
            let out = folder.path().join(format!("{}-{rule}", strategy.name));
            // One class is diagnosed: the measurements are the same for all.
            let settings = Settings { every: 1, mini_batches: 2, examples: 4, texts: 3, ..Settings::default() };
            let mut silent = Silent;
            if class == Class::Losses {
                let mut diagnostics = Diagnostics::new(settings, &mut silent).expect("settings");
                trained(&recipe, &out, &device, &mut diagnostics);
            } else {
                trained(&recipe, &out, &device, &mut silent);
            }
            let opened = Trained::open(&Default::default(), &out, &device).unwrap_or_else(|e| panic!("{what}: {e:#}"));
            for (name, _) in &opened.tasks {
                let (id, task) = opened.task(name).expect("a task");
                let text = match task.reads() {
                    Reads::Text => Texts::One("a text".into()),
                    Reads::Tokens => Texts::Tokens(vec!["a".into(), "text".into()]),
                };
                assert_eq!(opened.answer(id, &[text]).expect("an answer").len(), 1, "{what}");
            }
            let losses = first_losses(&out);
            assert!(losses.iter().all(|loss| loss.is_finite()), "{what}: {losses:?}");
            if gpu.is_some() {
                let here = folder.path().join("here");
                trained(&recipe, &here, &Device::Cpu, &mut Silent);
                for (there, here) in losses.iter().zip(first_losses(&here)) {
                    assert!((there - here).abs() <= 1e-3 * here.abs().max(1.), "{what}: {there} there, {here} here");
                }
            }
        }
    }
}
