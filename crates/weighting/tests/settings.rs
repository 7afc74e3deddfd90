//! Settings that speak of tasks and of the length of a run.

mod matrices;

use mtl_task::rng::Key;
use mtl_task::{Progress, Registry, TaskId};
use mtl_weighting::{GroupRule, Outcome, Rule, Status, StepInputs, Warning, Weighting};
use serde_json::{Value, json};

fn make(rule: &str, tasks: usize, settings: Value) -> Weighting {
    let rules = Registry::<Rule>::default();
    (rules.find(rule).expect("a rule").build)(tasks, &settings).expect("its settings")
}

/// One step of a rule over losses in a run of `of` steps.
fn balance(rule: &mut Weighting, losses: &[f64], step: usize, of: usize) -> Outcome {
    let seen = StepInputs { losses, likelihood: &[], progress: Progress { step, of }, key: Key::new(0) };
    match rule {
        Weighting::Losses(rule) => rule.weights(&seen),
        _ => panic!("a rule over losses"),
    }
}

#[test]
fn a_minimum_of_famo_is_one_tasks_own() {
    let losses = [-1.5, -19.0];
    let mut each = make("famo", 2, json!({"minimum": [-2.1, -21.0], "decay": 0.0}));
    let outcome = balance(&mut each, &losses, 0, 10);
    // z = (½, ½), D = (0.6, 2): w = (1/0.6, 1/2) over its sum.
    let sum = 1.0 / 0.6 + 0.5;
    for (weight, right) in outcome.weights.iter().zip([1.0 / 0.6 / sum, 0.5 / sum]) {
        assert!((weight - right).abs() < 1e-7, "{outcome:?}");
    }
    assert_eq!(outcome.warning, None);
    let mut one = make("famo", 2, json!({"minimum": -2.1}));
    assert_eq!(balance(&mut one, &losses, 0, 10).warning, Some(Warning::NonPositiveLoss));
    // A group of some of the tasks has these tasks' minima.
    let rules = Registry::<Rule>::default();
    let settings = json!({"minimum": [0.0, -2.1, -21.0], "decay": 0.0});
    let group = [TaskId(1), TaskId(2)];
    let mut group = GroupRule::new(rules.find("famo").expect("a rule"), &settings, &group, 3).expect("a group");
    let part = group.step(&[TaskId(1), TaskId(2)], |rule| balance(rule, &losses, 0, 10)).expect("decided");
    assert_eq!(part.weights, outcome.weights);
    let error = (rules.find("famo").expect("a rule").build)(3, &json!({"minimum": [0.0, 1.0]})).err().expect("refused");
    assert_eq!(error, "`minimum` of `famo` has 2 values for 3 tasks: give one number, or one a task");
}

/// In the warm-up the weights are 1/ℓ; after it they sum to K/ℓ where all losses are alike and at their nadir.
#[test]
fn the_warm_up_of_stch_is_a_share_of_the_run() {
    let lengths = |settings: Value, of: usize| {
        let mut rule = make("stch", 2, settings);
        let warm = |outcome: &Outcome| (outcome.weights[0] - 2.0).abs() < 1e-12;
        (0..of).take_while(|step| warm(&balance(&mut rule, &[0.5, 0.25 + 0.01 * *step as f64], *step, of))).count()
    };
    assert_eq!([100, 300, 1000].map(|of| lengths(json!({}), of)), [2, 6, 20]);
    assert_eq!(lengths(json!({"warmup": 0.5}), 40), 20);
    assert_eq!([60, 300].map(|of| lengths(json!({"warmup": 40}), of)), [40, 40]);
}

#[test]
fn the_weights_of_auto_lambda_travel_as_far_in_a_short_run_as_in_a_long_one() {
    // The first task's gradient agrees with the validation gradient, the second's does not.
    let rows = vec![vec![1.0, 0.0], vec![-0.5, 0.1]];
    let end = |settings: Value, of: usize| {
        let mut rule = make("auto-lambda", 2, settings);
        let mut last = Vec::new();
        for number in 0..of {
            let seen =
                StepInputs { losses: &[], likelihood: &[], progress: Progress { step: number, of }, key: Key::new(0) };
            let gram = mtl_weighting::Gram::of_rows(&[rows.clone(), vec![vec![1.0, 0.0], vec![0.0, 0.1]]].concat());
            let Weighting::Gram(rule) = &mut rule else { panic!("a rule over Gram matrices") };
            last = rule.weights(&gram, &seen).weights;
        }
        last
    };
    for of in [50, 500] {
        let weights = end(json!({}), of);
        assert!((weights[0] - 4.1).abs() < 0.1 && weights[1] == 0.0, "{of}: {weights:?}");
    }
    let slow = end(json!({"rate": 1e-4}), 50);
    assert!((slow[0] - 0.105).abs() < 1e-6, "{slow:?}");
}

#[test]
fn moco_descends_where_losses_are_below_zero() {
    let rows = vec![vec![1.0, 0.5], vec![0.5, 1.0]];
    let step = |settings: Value, losses: &[f64]| {
        matrices::step(&mut make("moco", 2, settings), std::slice::from_ref(&rows), losses, 0)
    };
    for losses in [[-3.0, 2.0], [-3.0, -20.0], [0.0, 1.0]] {
        let (outcome, direction) = step(json!({}), &losses);
        assert_eq!(outcome.warning, Some(Warning::NonPositiveLoss), "{losses:?}");
        assert!(rows.iter().all(|row| matrices::dot(row, &direction) >= 0.0), "{losses:?}: {direction:?}");
        // The paper's form looks at no loss: λ = softmax(½ − γ Gβ²/2), Y = βG.
        let (outcome, direction) = step(json!({"normalise": false}), &losses);
        assert_eq!((outcome.warning, outcome.status), (None, Status::Agreed));
        assert!((direction[0] - 0.375).abs() < 1e-6 && (direction[1] - 0.375).abs() < 1e-6, "{direction:?}");
    }
    assert_eq!(step(json!({}), &[3.0, 2.0]).0.warning, None);
}

#[test]
fn what_a_buffer_cannot_hold_is_not_finite_and_spoils_no_state() {
    for name in ["db-mtl", "excess-mtl", "moco"] {
        let settings = if name == "moco" { json!({"normalise": false}) } else { json!({}) };
        let mut rule = make(name, 2, settings);
        let rows = vec![vec![1.0, 0.5], vec![0.5, 1.0]];
        matrices::step(&mut rule, std::slice::from_ref(&rows), &[1.0, 1.0], 0);
        let before = rule.state();
        let (outcome, direction) =
            matrices::step(&mut rule, &[vec![vec![1.0, 0.5], vec![1e-150, 1e150]]], &[1.0, 1.0], 1);
        assert_eq!((outcome.status, direction), (Status::NonFinite(1), vec![]), "{name}");
        assert_eq!(rule.state(), before, "{name}");
    }
}

/// Norms 25 decades apart leave no tolerance of 1e-9, but an iterate that is right to many digits.
#[test]
fn fairgrad_keeps_an_iterate_that_is_nearly_solved() {
    let mut near = 0;
    for seed in 0..200 {
        let (_, rows) = matrices::kinds(seed).into_iter().find(|(kind, _)| *kind == "scaled").expect("a kind");
        let mut rule = make("fairgrad", 4, json!({"alpha": 2.0, "max_norm": 0}));
        let (outcome, direction) = matrices::step(&mut rule, std::slice::from_ref(&rows), &[], 0);
        if outcome.status != Status::OutOfIterations || outcome.residual > 1e-2 {
            continue;
        }
        near += 1;
        for (row, weight) in rows.iter().zip(&outcome.weights) {
            // (Gw)ᵢ √wᵢ = 1.
            let share = matrices::dot(row, &direction) * weight.sqrt();
            assert!((share - 1.0).abs() < 2.0 * outcome.residual + 1e-2, "{seed}: {share} {outcome:?}");
        }
    }
    assert!(near > 20, "{near}");
}
