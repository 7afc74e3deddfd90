//! Hand-made records with known answers.

mod contrasts;
mod faults;
mod nulls;
mod roles;

use super::*;
use mtl_task::{Answer, Label};

const TRUTHS: usize = 40;

fn curve(values: &[f64]) -> Curve {
    Curve(values.iter().enumerate().map(|(step, &value)| Point { step, value }).collect())
}

/// A task whose first `right` examples of class 1 are answered right; two metrics.
fn task(right: usize) -> TaskRecord {
    let accuracy = right as f64 / TRUTHS as f64;
    let metrics = BTreeMap::from([("accuracy".to_string(), accuracy), ("mae".to_string(), 1. - accuracy)]);
    TaskRecord {
        kind: "classification".into(),
        names: vec!["no".into(), "yes".into()],
        headline: "accuracy".into(),
        sizes: [100, 20, TRUTHS],
        train: BTreeMap::from([("accuracy".to_string(), 1.)]),
        dev: BTreeMap::from([("accuracy".to_string(), 0.75)]),
        test: Some(metrics),
        trivial: 0.5,
        ceiling: None,
        passes: None,
        texts: (0..TRUTHS).map(|at| format!("text {at}")).collect(),
        truths: vec![Label::Class(1); TRUTHS],
        answers: (0..TRUTHS)
            .map(|at| Answer { label: Label::Class(u32::from(at < right)), scores: vec![0.5, 0.5] })
            .collect(),
        dev_curve: curve(&[0.5, 0.75, 0.625]),
        train_curve: curve(&[0.5, 0.75, 1.]),
        loss_curve: curve(&[1.; 400]),
        weight_curve: curve(&[0.5, 1.5, 0.5, 1.5]),
    }
}

fn run(arm: &str, seed: u64, rights: &[(&str, usize)]) -> RunRecord {
    RunRecord {
        id: format!("{arm}-{seed}"),
        arm: arm.into(),
        seed,
        tasks: rights.iter().map(|(name, right)| (name.to_string(), task(*right))).collect(),
        steps: 400,
        seconds: 2.,
        cpu_seconds: 3. + seed as f64,
        tokens_per_second: 10.,
        parameters: 60,
        trainable: 50,
        single_task_parameters: 100,
        stored_bytes: 240,
        latency_ms: Some(1.5),
        outcomes: BTreeMap::from([("agreed".to_string(), 4)]),
        cosines: vec![vec![1., 0.25], vec![0.25, 1.]],
        test_opened_at: Some(format!("2026-01-0{}T00:00:00Z", seed + 1)),
        diverged: None,
        commit: None,
        data: BTreeMap::new(),
    }
}

fn question(arms: &[&str], seeds: u64) -> Question {
    let arm = |name: &&str| ArmSpec { name: (*name).into(), strategy: "hard".into(), ..ArmSpec::default() };
    Question {
        name: "made".into(),
        about: "by hand".into(),
        arms: arms.iter().map(arm).collect(),
        baseline: "single".into(),
        // Not sorted: the comparison keeps this order.
        tasks: vec!["b".into(), "a".into()],
        seeds: (0..seeds).collect(),
        level: 0.05,
        resamples: 200,
        key: Key::new(1),
        sampled: Sampled::default(),
    }
}

/// Task b: 20 → 30 right of 40, task a: 30 → 27; every seed alike but for one example.
fn records(seeds: u64) -> Vec<RunRecord> {
    let single = |seed| run("single", seed, &[("a", 30), ("b", 20)]);
    let better = |seed: u64| run("better", seed, &[("a", 27), ("b", 30 + seed as usize % 2)]);
    (0..seeds).flat_map(|seed| [better(seed), single(seed)]).collect()
}

#[test]
fn gains_tests_and_costs_are_those_counted_by_hand() {
    let found =
        Comparison::of(&Metrics::default(), &question(&["better", "single"], 5), &records(5)).expect("compared");
    assert_eq!(found.arms.iter().map(|arm| arm.arm.name.as_str()).collect::<Vec<_>>(), ["single", "better"]);
    assert_eq!(found.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    let (single, better) = (&found.arms[0], &found.arms[1]);
    // b: 0.5 → 0.76 in the mean, by accuracy +52 %, by mae (0.5 → 0.24) +52 %; a: 0.75 → 0.675 is −10 %, and by mae
    // (0.25 → 0.325) −30 %.
    let expected = ((52. + 52.) / 2. + (-10. - 30.) / 2.) / 2.;
    for gain in &better.gains {
        assert!((gain.percent.expect("defined") - expected).abs() < 1e-9, "{gain:?}");
    }
    assert_eq!((better.gains[0].over, better.gains[1].over), (2, 4));
    let seeds = better.gain_per_task.as_ref().expect("five seeds");
    assert!((seeds.estimate - expected).abs() < 1e-9 && seeds.seeds == 5 && seeds.low < expected, "{seeds:?}");
    assert_eq!(better.gain_percent()[0], Some(seeds.estimate));
    assert_eq!((single.gains[0].percent, single.gain_percent()[0]), (Some(0.), Some(0.)));
    assert!(single.gain_per_task.is_none() && single.tests.is_empty() && single.tasks[0].transfer.is_none());
    let gained = better.tasks[0].transfer.as_ref().expect("paired");
    assert!((gained.estimate - 0.26).abs() < 1e-9 && gained.low > 0., "{gained:?}");
    assert!(better.tasks[0].corrected_p.expect("corrected") < 0.01);
    // Ten discordant examples, all of them ours.
    let mcnemar = better.tasks[0].mcnemar.as_ref().expect("right or wrong");
    assert_eq!((mcnemar.n, mcnemar.p), (10, mcnemar.smallest_p));
    assert!(better.tests[1].test.starts_with("Wilcoxon") && better.tests[1].p == 0.0625);
    assert!(better.effect.expect("pairs") > 10.);
    assert_eq!((single.mean_rank, better.mean_rank), (Some(1.5), Some(1.5)));
    assert_eq!(found.friedman.as_ref().map(|test| (test.n, test.p)), Some((2, 1.)));
    assert_eq!((better.cpu_seconds, better.parameter_reduction, better.divergences), (5., 0.4, 0));
    assert_eq!(better.outcomes["agreed"], 20);
    assert_eq!((better.loss_volatility, better.weight_volatility), (Some(0.), Some(1.)));
    assert_eq!(better.cosines, [[1., 0.25], [0.25, 1.]]);
    assert_eq!(found.test_opened_at.as_deref(), Some("2026-01-01T00:00:00Z"));
    // The mean of +0.26 and −0.075, which the headline metric alone decides.
    let headline = better.headline.as_ref().expect("resampled");
    assert!((headline.estimate - (0.26 - 0.075) / 2.).abs() < 1e-12 && headline.seeds == 5, "{headline:?}");
    assert!((better.gain_headline.as_ref().expect("resampled").estimate - (52. - 10.) / 2.).abs() < 1e-9);
    assert_eq!((better.corrected_p, better.pairs.len()), (Some(headline.p), 5));
    assert_eq!((found.common.len(), found.headroom.len()), (5, 2));
    let room = &found.headroom[0];
    assert_eq!((room.baseline, room.room, room.by.as_deref()), (0.5, Some(gained.high), Some("better")));
    assert_eq!((found.pilot, found.warnings), (None, Vec::<String>::new()));
}

/// One example more on one task and one less on the other: the mean of the differences is −1e-17 as a number.
#[test]
fn a_mean_difference_of_nothing_but_rounding_is_no_difference() {
    let of = |arm: &str, seed: u64, right: [usize; 2]| run(arm, seed, &[("a", right[0]), ("b", right[1])]);
    let records: Vec<RunRecord> =
        (0..5).flat_map(|seed| [of("single", seed, [20, 1]), of("better", seed, [19, 2])]).collect();
    let rounded: f64 = (2. / 40. - 1. / 40.) + (19. / 40. - 20. / 40.);
    assert!(rounded != 0. && rounded.abs() < 1e-15, "{rounded}");
    let found = Comparison::of(&Metrics::default(), &question(&["single", "better"], 5), &records).expect("compared");
    let better = &found.arms[1];
    assert_eq!(better.tests.iter().map(|test| (test.statistic, test.p)).collect::<Vec<_>>(), [(0., 1.), (0., 1.)]);
    assert_eq!(better.effect, Some(0.));
    let headline = better.headline.as_ref().expect("resampled");
    assert_eq!((headline.estimate, headline.p), (0., 1.));
    assert_eq!(better.verdict.as_ref().map(|verdict| verdict.tone), Some(Tone::Undecided));
}

#[test]
fn curves_turn_and_examples_are_shown_with_both_answers() {
    let found =
        Comparison::of(&Metrics::default(), &question(&["single", "better"], 5), &records(5)).expect("compared");
    let task = &found.arms[1].tasks[0];
    let turned = task.overfitting.expect("curves");
    assert_eq!((turned.best_step, turned.lost, turned.gap, turned.index), (1, 0.125, 0.375, 0.375));
    assert_eq!(task.gap, Some(0.25));
    assert_eq!((task.loss_curve.0.len(), task.loss_curve.0[199].step), (200, 399));
    // Example 30 is right for two seeds of five, which is no majority.
    assert_eq!((task.won.len(), task.lost.len()), (10, 0));
    let first = Shown { text: "text 20".into(), truth: "yes".into(), baseline: "no".into(), arm: "yes".into() };
    assert_eq!(task.won[0], first);
    assert_eq!(found.arms[1].tasks[1].lost.len(), 3);
}

#[test]
fn surely_negative_transfer_is_counted_after_correction() {
    let mut records = records(5);
    for record in records.iter_mut().filter(|record| record.arm == "better") {
        record.tasks.insert("a".into(), task(5));
    }
    let found = Comparison::of(&Metrics::default(), &question(&["single", "better"], 5), &records).expect("compared");
    assert_eq!(found.arms[1].negative_share, Some(0.5));
    assert_eq!(found.arms[0].negative_share, None);
}

#[test]
fn controls_and_lost_runs_are_named_and_not_ranked() {
    let mut records = records(3);
    records.retain(|record| record.arm != "better" || record.seed != 1);
    records.extend((0..3).map(|seed| run("shuffled", seed, &[("b", 20)])));
    let mut question = question(&["shuffled", "gone", "single", "better"], 3);
    question.arms[0].control = Some("shuffled labels".into());
    let found = Comparison::of(&Metrics::default(), &question, &records).expect("compared");
    let names: Vec<&str> = found.arms.iter().map(|arm| arm.arm.name.as_str()).collect();
    assert_eq!(names, ["single", "better", "shuffled", "gone"]);
    assert_eq!(found.nemenyi.as_ref().map(|nemenyi| nemenyi.mean_ranks.len()), Some(2));
    assert_eq!((found.arms[2].mean_rank, found.arms[3].finished), (None, 0));
    assert_eq!(found.arms[1].tasks[0].scores, [Some(0.75), None, Some(0.75)]);
    assert_eq!(found.arms[2].tasks[1].mean, None);
    // Seed 1 counts for no arm, for one that is ranked lacks it.
    assert_eq!((found.common.clone(), found.arms[1].pairs.clone()), (vec![0, 2], vec![0, 2]));
    assert_eq!(found.arms[2].pairs, [0, 1, 2]);
    let said = found.warnings.join("\n");
    for part in ["`better` finished 2 of 3", "`shuffled` is not judged on a", "`gone` has no", "(shuffled labels)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(found.pilot.expect("three seeds").contains("3 seeds, fewer than 5"));
}

#[test]
fn numbers_are_won_by_their_error_and_shown_as_means() {
    let mut records = records(1);
    for record in &mut records {
        let own = record.arm == "better";
        for task in record.tasks.values_mut() {
            task.truths = vec![Label::Value(0.5); TRUTHS];
            task.headline = "mae".into();
            let value = |at: usize| Label::Value(if own && at == 7 { 0.25 } else { 1. });
            task.answers = (0..TRUTHS).map(|at| Answer { label: value(at), scores: vec![] }).collect();
        }
    }
    let found = Comparison::of(&Metrics::default(), &question(&["single", "better"], 1), &records).expect("compared");
    let task = &found.arms[1].tasks[0];
    assert!(task.mcnemar.is_none() && task.transfer.as_ref().is_some_and(|transfer| transfer.estimate > 0.));
    let expected =
        Shown { text: "text 7".into(), truth: "0.500".into(), baseline: "1.000".into(), arm: "0.250".into() };
    assert_eq!(task.won, [expected]);
}

#[test]
fn what_cannot_be_compared_is_refused_with_a_reason() {
    let error = |question: &Question, records: &[RunRecord]| {
        Comparison::of(&Metrics::default(), question, records).expect_err("refused").to_string()
    };
    assert!(error(&question(&["better"], 2), &records(2)).contains("baseline `single` is none of the arms better"));
    let lone: Vec<RunRecord> = records(2).into_iter().filter(|record| record.arm == "better").collect();
    assert!(error(&question(&["single", "better"], 2), &lone).contains("has no finished run"));
    let mut other = records(2);
    other[2].tasks.get_mut("b").expect("there").truths[3] = Label::Class(0);
    assert!(error(&question(&["single", "better"], 2), &other).contains("answered different examples"));
    let twice = [records(1), records(1)].concat();
    assert!(error(&question(&["single", "better"], 1), &twice).contains("two records of arm"));
    assert!(error(&Question { level: 5., ..question(&["single"], 1) }, &records(1)).contains("between 0 and 1"));
}
