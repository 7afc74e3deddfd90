//! Steps that leave tasks out, and groups that come to be of other tasks: for every rule of the registry.

mod matrices;

use std::collections::BTreeMap;

use matrices::{Rows, kinds, play, step};
use mtl_task::{Registry, TaskId};
use mtl_weighting::{GroupRule, Rule, State, StateShape, Status};
use serde_json::json;

const ALL: [TaskId; 4] = [TaskId(0), TaskId(1), TaskId(2), TaskId(3)];
const SOME: [TaskId; 2] = [TaskId(0), TaskId(2)];
const LOSSES: [f64; 4] = [0.4, 0.7, 1.0, 1.3];

fn rows() -> Rows {
    kinds(1).remove(0).1
}

fn of<T: Clone>(values: &[T], tasks: &[TaskId]) -> Vec<T> {
    tasks.iter().map(|task| values[task.0].clone()).collect()
}

/// Every rule over four tasks, some steps in.
fn started(rule: &Rule, steps: usize) -> GroupRule {
    let mut group = GroupRule::new(rule, &json!({}), &ALL, ALL.len()).expect("four tasks are enough");
    group.step(&ALL, |rule| play(rule, &rows(), &LOSSES, 0..steps)).expect("all tasks");
    group
}

fn shapes(group: &GroupRule) -> BTreeMap<&'static str, StateShape> {
    group.whole().shapes().iter().copied().collect()
}

/// What `state` holds of `task` alone, where that is a value and not a share.
fn belongs(shapes: &BTreeMap<&'static str, StateShape>, state: &State, task: usize) -> Vec<(String, Vec<f64>)> {
    let own = |(name, values): (&String, &Vec<f64>)| {
        let (family, number) = name.rsplit_once('.').unwrap_or((name, ""));
        let own = match (shapes.get(name.as_str()), shapes.get(family)) {
            (Some(StateShape::PerPair), _) => {
                (0..4).flat_map(|k| [values[task * 4 + k], values[k * 4 + task]]).collect()
            }
            (Some(StateShape::Whole), _) => Vec::new(),
            (Some(_), _) => vec![values[task]],
            (None, Some(StateShape::PerTaskVector)) if number == task.to_string() => values.clone(),
            _ => Vec::new(),
        };
        (name.clone(), own)
    };
    state.iter().map(own).filter(|(_, own)| !own.is_empty()).collect()
}

#[test]
fn a_step_of_some_tasks_is_finite_and_leaves_the_others_state_alone() {
    for rule in &Registry::<Rule>::default() {
        for steps in [1, 30, 120] {
            let mut group = started(rule, steps);
            let before = group.state();
            let (outcome, direction, _) = group
                .step(&SOME, |rule| play(rule, &of(&rows(), &SOME), &of(&LOSSES, &SOME), steps..steps + 2))
                .expect("of the group");
            let name = rule.name;
            assert!(!matches!(outcome.status, Status::NonFinite(_)), "{name}: {outcome:?}");
            assert!(outcome.weights.is_empty() || outcome.weights.len() == SOME.len(), "{name}: {outcome:?}");
            assert!(outcome.weights.iter().chain(&direction).all(|value| value.is_finite()), "{name}: {outcome:?}");
            let after = group.state();
            let shapes = shapes(&group);
            assert_eq!(before.len(), after.len(), "{name}");
            for absent in [1, 3] {
                assert_eq!(belongs(&shapes, &before, absent), belongs(&shapes, &after, absent), "{name}");
            }
            // The group goes on with all tasks.
            let (outcome, ..) = group.step(&ALL, |rule| play(rule, &rows(), &LOSSES, 0..2)).expect("all tasks");
            assert!(outcome.weights.iter().all(|value| value.is_finite()), "{name}: {outcome:?}");
        }
    }
}

#[test]
fn a_step_of_some_tasks_is_that_of_a_rule_which_has_their_state() {
    for rule in &Registry::<Rule>::default() {
        let mut group = started(rule, 30);
        let mut alone = rule.over(&json!({}), &SOME, 4).expect("two of four");
        let state = alone.remap(&group.state(), &ALL, &SOME).expect("its state");
        alone.restore(&state).expect("its state");
        let mini_batches = vec![of(&rows(), &SOME); alone.needs().mini_batches];
        let expected = step(&mut alone, &mini_batches, &of(&LOSSES, &SOME), 30);
        let found = group.step(&SOME, |rule| step(rule, &mini_batches, &of(&LOSSES, &SOME), 30)).expect("of the group");
        assert_eq!(found, expected, "{}", rule.name);
    }
}

#[test]
fn a_step_of_all_tasks_is_the_rules_own() {
    for rule in &Registry::<Rule>::default() {
        let mut group = GroupRule::new(rule, &json!({}), &ALL, 4).expect("four tasks");
        let mut plain = (rule.build)(4, &json!({})).expect("four tasks");
        let found = group.step(&ALL, |rule| play(rule, &rows(), &LOSSES, 0..40)).expect("all tasks");
        assert_eq!(found, play(&mut plain, &rows(), &LOSSES, 0..40), "{}", rule.name);
        assert_eq!(group.state(), plain.state(), "{}", rule.name);
    }
}

#[test]
fn tasks_that_stay_in_a_group_keep_their_state() {
    for rule in &Registry::<Rule>::default() {
        let mut group = started(rule, 30);
        let state = group.state();
        group.regroup(&ALL).expect("the same tasks");
        assert_eq!(group.state(), state, "{}: a group that stays", rule.name);
        group.regroup(&[TaskId(1), TaskId(2)]).expect("a smaller group");
        // Back in the larger one, the tasks that left start afresh.
        let kept = group.state();
        group.regroup(&ALL).expect("a larger group");
        let fresh = (rule.build)(4, &json!({})).expect("four tasks").state();
        let shapes = shapes(&group);
        for (name, values) in group.state() {
            if shapes.get(name.as_str()) == Some(&StateShape::PerTask) {
                assert_eq!(values[1..3], kept[&name], "{}: `{name}`", rule.name);
                assert_eq!(values[1..3], state[&name][1..3], "{}: `{name}`", rule.name);
                assert_eq!((values[0], values[3]), (fresh[&name][0], fresh[&name][3]), "{}: `{name}`", rule.name);
            }
        }
        let (outcome, ..) = group.step(&ALL, |rule| play(rule, &rows(), &LOSSES, 30..33)).expect("all tasks");
        assert!(outcome.weights.iter().all(|value| value.is_finite()), "{}: {outcome:?}", rule.name);
    }
}

#[test]
fn settings_that_name_tasks_follow_them() {
    let rules = Registry::<Rule>::default();
    let weights = |rule: &str, settings, tasks: &[TaskId]| {
        let mut rule = GroupRule::new(rules.find(rule).expect("a rule"), &settings, &ALL, 4).expect("settings");
        rule.step(tasks, |rule| step(rule, &[of(&rows(), tasks)], &of(&LOSSES, tasks), 0).0.weights).expect("tasks")
    };
    assert_eq!(weights("fixed", json!({"weights": [1.0, 2.0, 3.0, 4.0]}), &SOME), [1.0, 3.0]);
    assert_eq!(weights("single-task", json!({"task": 2}), &SOME), [0.0, 1.0]);
    assert_eq!(weights("single-task", json!({"task": 1}), &SOME), [0.0, 0.0]);
    assert_eq!(weights("krum", json!({}), &SOME), [0.5, 0.5]);
}

#[test]
fn tasks_of_no_group_are_refused() {
    let rules = Registry::<Rule>::default();
    let mean = rules.find("mean").expect("a rule");
    for tasks in [&[][..], &[TaskId(1), TaskId(0)], &[TaskId(4)]] {
        assert!(GroupRule::new(mean, &json!({}), tasks, 4).is_err(), "{tasks:?}");
        let mut group = GroupRule::new(mean, &json!({}), &ALL, 4).expect("a group");
        let error = group.step(tasks, |_| ()).expect_err("refused");
        assert!(error.contains("tasks of the group [0, 1, 2, 3]"), "{error}");
        assert!(group.regroup(tasks).is_err());
    }
}
