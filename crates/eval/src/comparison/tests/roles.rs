//! What an arm is decides what it is compared and counted with.

use super::*;
use crate::stats::holm;

/// Six arms over a baseline of 20 right of 40, each somewhat better.
fn suite() -> (Question, Vec<RunRecord>) {
    let arms = ["single", "one", "two", "three", "shuffled", "oracle", "portfolio"];
    let mut question = question(&arms, 5);
    question.arms[4].control = Some("shuffled labels".into());
    question.arms[5].role = Role::Oracle;
    question.arms[6].role = Role::Portfolio;
    let mut records = Vec::new();
    for (place, arm) in arms.iter().enumerate() {
        for seed in 0..5u64 {
            // Some examples lost, more of them won.
            let mut made = run(arm, seed, &[("a", 20), ("b", 20)]);
            for (index, task) in made.tasks.values_mut().enumerate() {
                let flip = |at: usize| place > 0 && (at * 7 + place + index + seed as usize) % 40 < 4 + place;
                task.answers.iter_mut().enumerate().for_each(|(at, answer)| {
                    answer.label = Label::Class(u32::from((at < 20) != (flip(at) && (at >= 20 || at % 3 == 0))));
                });
                let right = task.answers.iter().filter(|answer| answer.label == Label::Class(1)).count() as f64 / 40.;
                let metrics = task.test.as_mut().expect("scored");
                metrics.insert("accuracy".into(), right);
                metrics.insert("mae".into(), 1. - right);
            }
            records.push(made);
        }
    }
    (question, records)
}

#[test]
fn only_candidates_are_corrected_for_and_ranked() {
    let (question, records) = suite();
    let found = Comparison::of(&Metrics::default(), &question, &records).expect("compared");
    let own: Vec<f64> = found.arms[1..].iter().filter_map(|arm| Some(arm.headline.as_ref()?.p)).collect();
    let corrected: Vec<f64> = found.arms[1..].iter().filter_map(|arm| arm.corrected_p).collect();
    assert_eq!(corrected[..3], holm(&own[..3]).expect("probabilities"));
    assert_eq!(corrected[3..], own[3..]);
    assert!(own.iter().all(|p| *p > 0. && *p < 1.), "{own:?}");
    assert_eq!(found.candidates(), 3);
    assert_eq!(found.nemenyi.as_ref().map(|found| found.mean_ranks.len()), Some(4));
    assert!(found.arms[4..].iter().all(|arm| arm.mean_rank.is_none()));
    let said = found.warnings.join("\n");
    for part in ["a control (shuffled labels)", "`oracle` is an oracle", "`portfolio` is a portfolio"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let words = |arm: usize| found.arms[arm].verdict.as_ref().expect("a verdict").sentence();
    assert!(words(1).contains("by Holm over 3 candidates") && !words(5).contains("Holm"), "{}", words(1));
}

#[test]
fn batches_of_its_own_are_said_beside_the_verdict() {
    let (mut question, records) = suite();
    question.arms[2].batches = Some("draws 3 batches a task for every step".into());
    question.sampled = Sampled::Both;
    let found = Comparison::of(&Metrics::default(), &question, &records).expect("compared");
    assert!(found.warnings.iter().any(|said| said.contains("`two` does not see the baseline's batches: it draws 3")));
    let words = found.arms[2].verdict.as_ref().expect("a verdict").because.join(" ");
    assert!(words.contains("Its steps do not see the baseline's batches"), "{words}");
    assert_eq!(found.sampled, Sampled::Both);
}

#[test]
fn a_known_ceiling_is_the_headroom() {
    let (question, mut records) = suite();
    for run in &mut records {
        run.tasks.get_mut("a").expect("there").ceiling = Some(0.9625);
    }
    let found = Comparison::of(&Metrics::default(), &question, &records).expect("compared");
    let (b, a) = (&found.headroom[0], &found.headroom[1]);
    assert!((a.room.expect("known") - (0.9625 - a.baseline)).abs() < 1e-12 && a.by.is_none());
    let highest =
        found.arms[1..4].iter().filter_map(|arm| Some(arm.tasks[0].transfer.as_ref()?.high)).fold(0., f64::max);
    assert_eq!(b.room, Some(highest));
    let ends = b.detectable.expect("intervals");
    let one = found.arms[1].tasks[0].transfer.as_ref().expect("an interval");
    assert!(ends[0] <= one.detectable(0.05) && one.detectable(0.05) <= ends[1]);
    assert!(!found.warnings.iter().any(|said| said.contains("noise ceiling")), "{:?}", found.warnings);
    for run in &mut records {
        run.tasks.get_mut("a").expect("there").ceiling = Some(0.51);
    }
    let low = Comparison::of(&Metrics::default(), &question, &records).expect("compared");
    assert!(
        low.warnings.iter().any(|said| said.contains("task `a` leaves 0.0100 between single and its noise ceiling"))
    );
    // At least the half width of the interval and, at many degrees of freedom, 2.80 standard errors.
    assert!(one.detectable(0.05) > one.high - one.estimate);
    let many = crate::stats::Interval::student(0.1, 0.01, 1e6, 0.95, 1000, 40);
    assert!((many.detectable(0.05) - 0.01 * (1.959964 + 0.841621)).abs() < 1e-6);
}
