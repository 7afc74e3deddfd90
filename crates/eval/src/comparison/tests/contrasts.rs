//! Differences between two arms.

use super::*;

fn records() -> Vec<RunRecord> {
    let of = |(arm, base): (&str, usize)| -> Vec<RunRecord> {
        (0..6)
            .map(|seed| run(arm, seed, &[("a", base + seed as usize % 3), ("b", base + (seed as usize * 5) % 4)]))
            .collect()
    };
    [("single", 20), ("hard", 26), ("other", 29)].into_iter().flat_map(of).collect()
}

#[test]
fn against_the_baseline_a_contrast_is_the_gain_and_between_others_their_difference() {
    let (metrics, question) = (Metrics::default(), question(&["single", "hard", "other"], 6));
    let records = records();
    let whole = Comparison::of(&metrics, &question, &records).expect("compared");
    let gain = |arm: &str| {
        let found = whole.arms.iter().find(|found| found.arm.name == arm).expect("an arm");
        found.headline.clone().expect("an interval")
    };
    let of = |arm, against| Contrast::of(&metrics, &question, &records, (arm, against)).expect("fits");
    let found = of("other", "single").expect("both ran");
    assert!((found.headline.estimate - gain("other").estimate).abs() < 1e-12, "{found:?}");
    let found = of("other", "hard").expect("both ran");
    let difference = gain("other").estimate - gain("hard").estimate;
    assert!((found.headline.estimate - difference).abs() < 1e-12 && found.headline.seeds == 6, "{found:?}");
    assert!(found.headline.low < difference && difference < found.headline.high, "{found:?}");
    let mean = found.tasks.values().map(|task| task.estimate).sum::<f64>() / 2.;
    assert!(found.tasks.len() == 2 && (mean - difference).abs() < 1e-12, "{found:?}");
    let back = of("hard", "other").expect("both ran");
    assert!((back.headline.estimate + difference).abs() < 1e-12, "{back:?}");
}

#[test]
fn an_arm_without_runs_has_no_contrast_and_an_unknown_one_is_named() {
    let (metrics, question) = (Metrics::default(), question(&["single", "hard", "absent"], 6));
    let found = Contrast::of(&metrics, &question, &records(), ("hard", "absent")).expect("no error");
    assert_eq!(found, None);
    let error = |pair| Contrast::of(&metrics, &question, &records(), pair).expect_err("refused").to_string();
    assert!(error(("hard", "sofft")).contains("`sofft` is none of the arms single, hard, absent"));
    assert!(error(("hard", "hard")).contains("compared with itself"));
}
