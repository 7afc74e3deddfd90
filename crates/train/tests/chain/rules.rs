//! Every weighting rule of the registry at work in the loop.

use mtl_task::{Registry, TaskId};
use mtl_weighting::Rule;

use crate::tiny::{assembled, hash, metrics, new, recipe, run, run_with_a_break, states};

#[test]
fn every_rule_trains_and_goes_on_from_a_checkpoint_bit_for_bit() {
    for rule in &Registry::<Rule>::default() {
        // Four tasks, since there are rules that leave the odd ones out.
        let tasks = "tasks=[\"topic\", \"mood\", \"tags\", \"genre\"]";
        let recipe = recipe(&[tasks, &format!("weighting.rule={}", rule.name), "optimizer.rate=1e-2"]);
        let folder = tempfile::tempdir().expect("a folder");
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        let report = run(&recipe, &whole);
        assert_eq!((report.steps, report.rule.as_str()), (4, rule.name));
        assert_eq!(report.outcomes.values().sum::<usize>(), 4, "{}: {:?}", rule.name, report.outcomes);
        let lines = metrics(&whole);
        assert_eq!(lines.len(), 4, "{}", rule.name);
        for line in &lines {
            let losses = line["losses"].as_array().expect("losses");
            assert!(losses.len() == 4 && losses.iter().all(|loss| loss.is_f64()), "{}: {line}", rule.name);
            assert!(line["gradient_norm"].as_f64().is_some_and(|norm| norm > 0.), "{}: {line}", rule.name);
        }
        let resumed = run_with_a_break(&recipe, &broken, 2);
        assert_eq!(hash(&broken, "model.safetensors"), hash(&whole, "model.safetensors"), "{}", rule.name);
        assert_eq!(hash(&broken, "optimizer.safetensors"), hash(&whole, "optimizer.safetensors"), "{}", rule.name);
        assert_eq!(states(&broken), states(&whole), "{}", rule.name);
        assert_eq!(resumed.tasks, report.tasks, "{}", rule.name);
        assert_eq!(metrics(&broken).len(), 4, "{}: one line a step, whatever happened between", rule.name);
    }
}

#[test]
fn a_rule_with_a_validation_draw_gets_a_second_batch_from_examples_that_are_not_learnt() {
    let trainer = assembled(&recipe(&["weighting.rule=auto-lambda"])).trainer;
    assert!(trainer.validates() && trainer.mini_batches() == 2);
    assert!(!assembled(&recipe(&["weighting.rule=nash"])).trainer.validates());
    // With two training examples a task, one is held out and one is left; with one, nothing is left to learn.
    let folder = tempfile::tempdir().expect("a folder");
    let few = |limit: usize| recipe(&["weighting.rule=auto-lambda", &format!("train.limit={limit}")]);
    assert_eq!(run(&few(2), &folder.path().join("two")).steps, 4);
    let error = format!("{:#}", new(&few(1), &folder.path().join("one"), false).err().expect("nothing to learn"));
    assert!(error.contains("no training example"), "{error}");
}

#[test]
fn an_agreement_is_held_between_refreshes_and_clipped_by_each_steps_own_gradients() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["weighting.rule=nash", "weighting.refresh=3", "train.steps=7", "optimizer.rate=2e-2"]);
    run(&recipe, folder.path());
    let list = |line: &serde_json::Value, key: &str| -> Vec<f64> {
        line[key].as_array().expect(key).iter().map(|value| value.as_f64().expect("a number")).collect()
    };
    let mut directions = Vec::new();
    for line in metrics(folder.path()) {
        let (weights, norms, cosines) = (list(&line, "weights"), list(&line, "gradient_norms"), list(&line, "cosines"));
        let mut square: f64 = (0..3).map(|i| (weights[i] * norms[i]).powi(2)).sum();
        for (pair, (i, j)) in [(1, 0), (2, 0), (2, 1)].into_iter().enumerate() {
            square += 2. * weights[i] * weights[j] * norms[i] * norms[j] * cosines[pair];
        }
        assert!(square.sqrt() <= 1. + 1e-6, "max_norm bounds the shared direction: {}", square.sqrt());
        directions.push([weights[1] / weights[0], weights[2] / weights[0]]);
    }
    let same = |a: usize, b: usize| directions[a].iter().zip(directions[b]).all(|(x, y)| (x / y - 1.).abs() < 1e-9);
    assert!(same(0, 1) && same(0, 2) && same(3, 4) && same(3, 5), "{directions:?}");
    assert!(!same(2, 3) && !same(5, 6), "{directions:?}");
}

#[test]
fn one_task_steps_see_one_task_each_and_every_task_in_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["train.step=one", "train.steps=12", "weighting.rule=equal"]);
    run(&recipe, folder.path());
    let mut seen = [0; 3];
    for line in metrics(folder.path()) {
        let tasks = line["tasks"].as_array().expect("tasks");
        assert!(tasks.len() == 1 && line["losses"].as_array().is_some_and(|losses| losses.len() == 1), "{line}");
        seen[tasks[0].as_u64().expect("an index") as usize] += 1;
    }
    assert!(seen.iter().all(|&steps| steps > 0), "{seen:?}");
    let model = assembled(&recipe).trainer.model;
    assert!((0..3).all(|task| model.reach(TaskId(task)).iter().any(|name| name.starts_with("shared/"))));
}
