//! A dry run does what a run does, and leaves nothing behind.

use candle_core::Device;
use mtl_train::{DryRun, dry_run};

use crate::tiny::{located, recipe};

fn rehearsed(overrides: &[&str]) -> DryRun {
    let recipe = recipe(overrides);
    dry_run(&recipe, &located(&recipe), &Device::Cpu).expect("a dry run")
}

#[test]
fn sizes_are_those_of_the_model_that_is_trained() {
    let found = rehearsed(&[]);
    let (bytes, memory) = (|count: usize| 4 * count as u64, &found.memory.estimate);
    assert_eq!((found.steps, found.batch, found.accumulate), (4, 4, 1));
    assert_eq!(found.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["topic", "mood", "tags"]);
    for task in &found.tasks {
        assert!(task.train > 40 && (1..=12).contains(&task.dev) && (1..=12).contains(&task.test), "{task:?}");
        assert!(task.tokens[0] <= task.tokens[3] && (0. ..=1.).contains(&task.truncated), "{task:?}");
    }
    assert_eq!(found.parameters.by_role.values().sum::<usize>(), found.parameters.trainable);
    assert_eq!(memory.weights, bytes(found.parameters.total));
    assert_eq!(memory.moments, bytes(2 * found.parameters.trainable));
    // Three rows over one encoder and a head each: the shared part three times.
    assert!(memory.gradients > 2 * (memory.moments / 4) && memory.activations > 0, "{memory:?}");
    assert_eq!(memory.computed, 0, "hard sharing computes no part");
    // Weights and both moments, and what says of them what they are.
    let least = memory.weights + memory.moments;
    assert!((least..3 * least + 50_000).contains(&found.disk.checkpoint), "{:?} of {least}", found.disk);
    assert_eq!((found.disk.kept, found.disk.each), (3, 0));
    assert!(found.time.step > 0. && found.time.total >= found.time.step * 4. && found.time.evaluations == 1);
    assert!(found.memory.peak.is_none_or(|peak| peak > memory.total()), "{:?}", found.memory);
}

#[test]
fn strategies_and_rules_need_what_they_are() {
    let hard = rehearsed(&["train.steps=2"]).memory.estimate;
    let single = rehearsed(&["train.steps=2", "sharing.strategy=single", "weighting.rule=equal"]).memory.estimate;
    assert!(single.moments > 2 * hard.moments && single.weights > 2 * hard.weights, "an encoder a task");
    let stitched = rehearsed(&["train.steps=2", "sharing.strategy=cross-stitch"]).memory.estimate;
    assert!(stitched.activations > 2 * hard.activations, "a walk of each encoder");
    assert!(stitched.gradients > 2 * hard.gradients, "every task reaches every encoder");
    let lora = rehearsed(&["train.steps=2", "sharing.strategy=lora", "weighting.rule=equal"]).memory.estimate;
    assert!(lora.weights > hard.weights && lora.computed > 0, "factors beside a frozen encoder: {lora:?}");
    let summed = rehearsed(&["train.steps=2", "weighting.rule=equal", "train.log_gradients=0"]).memory.estimate;
    assert!(summed.gradients < hard.gradients, "one row in place of three");
    let micro = rehearsed(&["train.steps=2", "train.batch=1", "train.accumulate=4"]).memory.estimate;
    assert!(micro.activations < hard.activations / 2 && micro.gradients > hard.gradients);
    let again = rehearsed(&["train.steps=2", "train.recompute=true"]).memory.estimate;
    assert!(again.activations < hard.activations);
}

#[test]
fn phases_and_kept_checkpoints_are_rehearsed_too() {
    let sparse = rehearsed(&["train.steps=40", "sharing.strategy=sparse"]);
    assert!(sparse.steps >= 40 && sparse.time.total > 0.);
    let each = rehearsed(&[
        "sharing.strategy=single",
        "weighting.rule=equal",
        "evaluation.keep=each",
        "evaluation.keep_evaluations=true",
        "evaluation.every=2",
    ]);
    assert_eq!((each.disk.kept, each.time.evaluations), (3 + 2 + 1, 2));
    assert!(each.disk.each > 0 && each.disk.most > 6 * each.disk.checkpoint);
}
