//! Each way in which a comparison once said what its scores do not.

use super::*;

fn compared(question: &Question, records: &[RunRecord]) -> Comparison {
    Comparison::of(&Metrics::default(), question, records).expect("compared")
}

fn tone(comparison: &Comparison, arm: usize) -> Tone {
    comparison.arms[arm].verdict.as_ref().expect("a verdict").tone
}

/// Better on both headlines, and far worse by a metric that no task is judged by.
#[test]
fn secondary_metrics_decide_nothing() {
    let mut records: Vec<RunRecord> = Vec::new();
    for seed in 0..5 {
        let better = 28 + seed as usize % 2;
        records.push(run("single", seed, &[("a", 20), ("b", 20)]));
        records.push(run("better", seed, &[("a", better), ("b", better)]));
    }
    for task in records.iter_mut().filter(|run| run.arm == "better").flat_map(|run| run.tasks.values_mut()) {
        task.test.as_mut().expect("scored").insert("mae".into(), 5.);
    }
    let found = compared(&question(&["single", "better"], 5), &records);
    let better = &found.arms[1];
    assert!(better.gain_per_task.as_ref().expect("Δm").high < -100. && better.gain_per_metric.is_some());
    assert!(better.gain_headline.as_ref().expect("Δm").low > 0.);
    assert_eq!(tone(&found, 1), Tone::Better);
    let words = better.verdict.as_ref().expect("a verdict").sentence();
    assert!(words.starts_with("Better than single. Mean gain in headline score over 2 tasks: +0.21"), "{words}");
}

/// Both arms score alike under every seed; the baseline finished the two poor ones alone.
#[test]
fn a_baseline_that_lost_seeds_makes_no_arm_better() {
    let right = |seed: u64| if seed < 2 { 20 } else { 36 };
    let of = |arm: &str, seed: u64| run(arm, seed, &[("a", right(seed)), ("b", right(seed))]);
    let mut records: Vec<RunRecord> = (0..5).map(|seed| of("other", seed)).collect();
    records.extend((0..2).map(|seed| of("single", seed)));
    let found = compared(&question(&["single", "other"], 5), &records);
    let (single, other) = (&found.arms[0], &found.arms[1]);
    assert_eq!((found.common.clone(), other.pairs.clone()), (vec![0, 1], vec![0, 1]));
    assert_eq!((single.tasks[0].mean, other.tasks[0].mean), (Some(0.5), Some(0.5)));
    assert_eq!((other.gain_percent()[0], other.mean_rank), (Some(0.), Some(1.5)));
    assert_eq!(other.headline.as_ref().map(|found| (found.estimate, found.seeds)), Some((0., 2)));
    assert_eq!(tone(&found, 1), Tone::None);
    assert!(other.pilot.as_ref().expect("two pairs").contains("2 pairs of seeds that finished, fewer than 5"));
    assert!(
        found.warnings.iter().any(|said| said.ends_with("every ranked arm finished: 0, 1")),
        "{:?}",
        found.warnings
    );
}

#[test]
fn an_arm_below_the_bar_labels_itself_alone() {
    let mut records = records(6);
    records.extend((0..6).map(|seed| run("broken", seed, &[("a", 30), ("b", 30)])));
    records.retain(|run| run.arm != "broken" || run.seed == 3);
    let found = compared(&question(&["single", "better", "broken"], 6), &records);
    assert_eq!((&found.pilot, &found.arms[1].pilot), (&None, &None));
    assert_eq!(found.arms[2].arm.name, "broken");
    assert!(found.arms[2].pilot.is_some() && found.arms[2].mean_rank.is_none());
    // One of six seeds is fewer than half: it takes no seed from the others.
    assert_eq!((found.common.len(), found.nemenyi.as_ref().map(|found| found.mean_ranks.len())), (6, Some(2)));
    assert_ne!(tone(&found, 1), Tone::None);
    assert_eq!(tone(&found, 2), Tone::None);
    assert!(found.warnings.iter().any(|said| said.contains("`broken` is not ranked: it has 1 pair of seeds")));
}

/// The commonest truth is class 1 (0.75); the commonest training label, whose score is known, was class 0.
#[test]
fn a_run_that_diverged_is_scored_as_the_trivial_answer() {
    let mut records = records(5);
    for task in records.iter_mut().flat_map(|run| run.tasks.values_mut()) {
        task.truths[30..].fill(Label::Class(0));
        task.trivial = 0.25;
    }
    let lost = records.iter().position(|run| run.arm == "better" && run.seed == 2).expect("there");
    records[lost].tasks.clear();
    records[lost].diverged = Some("the loss is NaN at step 7".into());
    let found = compared(&question(&["single", "better"], 5), &records);
    let better = &found.arms[1];
    assert_eq!((better.finished, better.pairs.len(), found.pilot.clone()), (5, 5, None));
    assert_eq!(better.diverged[&2], "the loss is NaN at step 7");
    assert_eq!((better.tasks[0].scores[2], better.tasks[1].scores[2]), (Some(0.25), Some(0.25)));
    assert_eq!(better.tasks[0].seed_metrics["accuracy"][2], Some(0.25));
    assert!(better.headline.as_ref().expect("resampled").standard_error > 0.02, "{:?}", better.headline);
    let words = better.verdict.as_ref().expect("a verdict").because.join(" ");
    assert!(words.contains("1 run diverged and count as results"), "{words}");
    // What it cost is no part of what a run costs.
    assert_eq!(better.cpu_seconds, (3. + 4. + 6. + 7.) / 4.);
}

#[test]
fn a_metric_without_a_ratio_is_left_out_of_every_seed_and_named() {
    // Task b's baseline is right once in 40, and under one seed never.
    let single = |seed: u64| run("single", seed, &[("a", 30), ("b", usize::from(seed != 1))]);
    let better = |seed: u64| run("better", seed, &[("a", 33), ("b", 12)]);
    let records: Vec<RunRecord> = (0..5).flat_map(|seed| [single(seed), better(seed)]).collect();
    let found = compared(&question(&["single", "better"], 5), &records);
    let better = &found.arms[1];
    let headline = better.gain_headline.as_ref().expect("task a is left");
    assert!((headline.estimate - 10.).abs() < 1e-9 && headline.seeds == 5, "{headline:?}");
    assert_eq!(better.left_out.len(), 1);
    assert_eq!((better.left_out[0].name.as_str(), better.left_out[0].baseline), ("b/accuracy", 0.02));
    assert!((better.left_out[0].difference - 0.28).abs() < 1e-12);
    assert_eq!(better.gains[0].undefined, ["b/accuracy"]);
    // Error is no small baseline there: b's 0.98 falls to 0.7, a's 0.25 to 0.175.
    let expected = (100. * 0.28 / 0.98 + (10. + 30.) / 2.) / 2.;
    assert!((better.gain_percent()[0].expect("Δm") - expected).abs() < 1e-9);

    let single = |seed: u64| run("single", seed, &[("a", 40), ("b", 40)]);
    let mut records: Vec<RunRecord> =
        (0..5).flat_map(|seed| [single(seed), run("better", seed, &[("a", 39), ("b", 39)])]).collect();
    for task in records.iter_mut().flat_map(|run| run.tasks.values_mut()) {
        task.headline = "mae".into();
        task.test.as_mut().expect("scored").remove("accuracy");
        task.truths.fill(Label::Value(1.));
        task.answers.iter_mut().for_each(|answer| answer.label = Label::Value(1.));
    }
    let refused = &compared(&question(&["single", "better"], 5), &records).arms[1];
    assert_eq!((&refused.gain_headline, &refused.gain_per_task, refused.gains[1].percent), (&None, &None, None));
    assert_eq!(refused.left_out.len(), 2);
}

/// The same five scores in another order: their means differ in the last bits.
#[test]
fn the_noise_of_summation_ranks_nothing() {
    let orders = [[4, 8, 12, 16, 28], [28, 12, 4, 16, 8], [16, 28, 8, 12, 4]];
    let names = ["single", "one", "other"];
    let mut records = Vec::new();
    for (name, order) in names.iter().zip(orders) {
        records.extend((0..5).map(|seed| run(name, seed, &[("a", order[seed as usize]), ("b", order[seed as usize])])));
    }
    let found = compared(&question(&names, 5), &records);
    let means: Vec<f64> = found.arms.iter().filter_map(|arm| arm.tasks[0].mean).collect();
    assert!(means.windows(2).any(|pair| pair[0] != pair[1]), "{means:?} do not show it");
    assert_eq!(found.arms.iter().map(|arm| arm.mean_rank).collect::<Vec<_>>(), [Some(2.); 3]);
    assert_eq!(found.friedman.as_ref().map(|found| found.p), Some(1.));
}

/// χ² would say 0.046 for four tasks and 0.025 for five, and three arms with the control among them.
#[test]
fn few_tasks_have_the_p_of_their_orders() {
    for (tasks, smallest) in [(4, 0.125), (5, 0.0625)] {
        let names: Vec<String> = (0..tasks).map(|task| format!("task {task}")).collect();
        let rights = |right: usize| names.iter().map(|name| (name.as_str(), right)).collect::<Vec<_>>();
        let of = |(arm, right): (&str, usize)| (0..5).map(|seed| run(arm, seed, &rights(right))).collect::<Vec<_>>();
        let records = [("single", 20), ("other", 25), ("regularised", 30)].map(of).concat();
        let mut question = question(&["single", "other", "regularised"], 5);
        question.tasks = names.clone();
        question.arms[2].control = Some("regularised single task".into());
        let found = compared(&question, &records);
        let friedman = found.friedman.as_ref().expect("two candidates");
        assert_eq!((friedman.p, friedman.smallest_p), (smallest, smallest), "{friedman}");
        assert_eq!(found.arms.iter().map(|arm| arm.mean_rank).collect::<Vec<_>>(), [Some(2.), Some(1.), None]);
    }
}

#[test]
fn what_no_run_can_have_is_refused() {
    let refused = |records: &[RunRecord]| {
        Comparison::of(&Metrics::default(), &question(&["single", "better"], 2), records)
            .expect_err("refused")
            .to_string()
    };
    let mut odd = records(2);
    odd[0].tasks.get_mut("a").expect("there").test.as_mut().expect("scored").insert("accuracy".into(), f64::NAN);
    assert!(refused(&odd).contains("run better-0: task `a` has NaN as its accuracy, which is no score"));
    let mut short = records(2);
    short[2].tasks.remove("b");
    assert!(refused(&short).contains("run better-1: does not judge task `b`, which other runs of its arm `better` do"));
}

#[test]
fn a_pilot_is_told_by_passes_through_the_smallest_task() {
    let with = |passes: [f64; 2], sizes: [usize; 2]| {
        let mut records = records(5);
        for run in &mut records {
            for ((task, passes), size) in run.tasks.values_mut().zip(passes).zip(sizes) {
                (task.passes, task.sizes[0]) = (Some(passes), size);
                task.loss_curve.0.truncate(50);
            }
        }
        compared(&question(&["single", "better"], 5), &records).pilot
    };
    assert_eq!(with([40., 0.5], [50, 4000]), None);
    let why = with([1.5, 40.], [50, 4000]).expect("a pilot");
    assert_eq!(why, "1.5 passes through the smallest task, fewer than 2");
}

/// As they were written before records said why they diverged, by which commit, and on which data.
#[test]
fn records_of_before_open() {
    let mut json = serde_json::to_value(run("single", 1, &[("a", 30)])).expect("JSON");
    let object = |value: &mut serde_json::Value, names: &[&str]| {
        names.iter().for_each(|name| drop(value.as_object_mut().expect("an object").remove(*name)));
    };
    object(&mut json, &["diverged", "commit", "data"]);
    object(&mut json["tasks"]["a"], &["ceiling", "passes"]);
    let record: RunRecord = serde_json::from_value(json).expect("opens");
    assert_eq!(record, run("single", 1, &[("a", 30)]));
}
