//! What may be said of each arm, and no more: the words follow the intervals.
//!
//! * An interval of Δm that excludes 0 lets an arm be called better or worse than the baseline, at its level and for
//!   the one comparison; an interval that covers 0 lets nothing be said but which sizes of effect remain possible.
//! * A task counts as gained or lost only after Holm's correction over the arm's tasks.
//! * A pilot, a single seed, a missing baseline or an arm without a finished run draw no conclusion.

use mtl_eval::comparison::{ArmResult, Comparison};
use mtl_eval::stats::Interval;
use serde::Serialize;

use crate::numbers::{counted, ends, listed, percent, probability, signed};
use crate::tables;

/// The words on one arm.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// The arm.
    pub(crate) arm: String,
    /// What it controls for, if it is a control.
    pub(crate) control: Option<String>,
    /// One of `better`, `worse`, `undecided`, `none`.
    pub(crate) tone: &'static str,
    /// The verdict in a few words.
    pub(crate) headline: String,
    /// What bears it, a sentence each.
    pub(crate) because: Vec<String>,
}

/// The verdict on every arm but the baseline.
pub(crate) fn verdicts(comparison: &Comparison) -> Vec<Verdict> {
    let others = comparison.arms.iter().filter(|arm| arm.arm.name != comparison.baseline);
    others.map(|arm| verdict(comparison, arm)).collect()
}

/// What holds for all verdicts: how they were reached, and what they cannot carry.
pub(crate) fn preamble(comparison: &Comparison) -> Vec<String> {
    let others = comparison.arms.iter().filter(|arm| arm.arm.name != comparison.baseline).count();
    let mut said = Vec::new();
    if let Some(why) = &comparison.pilot {
        let why = why.trim().trim_end_matches('.');
        said.push(format!("This is a pilot, and no conclusion may be drawn from it: {why}."));
    }
    said.push(format!(
        "{} against {}, {}, {}.",
        counted(others, "arm", "arms"),
        comparison.baseline,
        counted(comparison.tasks.len(), "task", "tasks"),
        counted(comparison.seeds.len(), "seed", "seeds"),
    ));
    said.push(match &comparison.test_opened_at {
        Some(when) => format!("Scores are on the test splits, opened first at {when}, after every choice was made."),
        None => "The test splits are sealed. Scores are on dev, on which checkpoints and settings were chosen: they \
                 flatter every arm."
            .to_string(),
    });
    if others > 1 {
        said.push(format!(
            "Each interval is for one comparison with the baseline. With {others} arms, one in {:.0} intervals misses \
             its value by chance, so that a lone “better” among many arms is weak evidence.",
            1. / comparison.level.max(1e-9)
        ));
    }
    said
}

fn verdict(comparison: &Comparison, arm: &ArmResult) -> Verdict {
    let (tone, headline, mut because) = headline(comparison, arm);
    because.extend(gain(comparison, arm));
    because.extend(tasks(comparison, arm));
    if !arm.broken.is_empty() {
        because.push(format!(
            "{} of {} broke; what is said rests on the others, which may be the easier seeds.",
            counted(arm.broken.len(), "run", "runs"),
            arm.broken.len() + arm.finished
        ));
    }
    let name = arm.arm.name.clone();
    Verdict { arm: name, control: arm.arm.control.clone(), tone, headline, because }
}

fn headline(comparison: &Comparison, arm: &ArmResult) -> (&'static str, String, Vec<String>) {
    let none = |headline: &str| ("none", headline.to_string(), Vec::new());
    let baseline = comparison.arms.iter().find(|arm| arm.arm.name == comparison.baseline);
    if arm.finished == 0 {
        return none("No run finished: nothing can be said");
    }
    if baseline.is_none_or(|baseline| baseline.finished == 0) {
        return none("The baseline did not finish: nothing to compare with");
    }
    if comparison.pilot.is_some() {
        return none("Pilot: no conclusion");
    }
    let Some(interval) = &arm.gain_per_task else {
        return none("No interval: no conclusion");
    };
    if comparison.seeds.len() < 2 || interval.seeds < 2 {
        return none("One seed: no conclusion on other seeds");
    }
    let confidence = percent(interval.confidence);
    match interval {
        found if !found.low.is_finite() || !found.high.is_finite() => none("No interval: no conclusion"),
        found if found.low > 0. => ("better", format!("Better on average, at {confidence} % confidence"), Vec::new()),
        found if found.high < 0. => ("worse", format!("Worse on average, at {confidence} % confidence"), Vec::new()),
        found => {
            let possible = format!(
                "Anything from {} % to {} % remains possible; that no difference was found does not show that there \
                 is none.",
                signed(found.low, 2),
                signed(found.high, 2)
            );
            ("undecided", "Not told apart from the baseline".to_string(), vec![possible])
        }
    }
}

fn gain(comparison: &Comparison, arm: &ArmResult) -> Option<String> {
    let over = |interval: &Interval| format!("{} % interval {} %", percent(interval.confidence), ends(interval, 2));
    let percent = arm.gain_percent()[0]?;
    let interval = arm.gain_per_task.as_ref().map_or("no interval".to_string(), over);
    let mut sentence = format!("Δm = {} % per task ({interval})", signed(percent, 2));
    let unsure: Vec<String> = arm
        .tests
        .iter()
        .map(|found| {
            let unable = found.smallest_p > comparison.level;
            let limit = if unable { format!(", which cannot reach {}", comparison.level) } else { String::new() };
            let p = probability(found.p);
            let relation = if p.starts_with('<') { "" } else { "= " };
            format!("{}, p {relation}{p}{limit}", found.test)
        })
        .collect();
    if !unsure.is_empty() {
        sentence += &format!("; mean score differences: {}", listed(&unsure));
    }
    Some(sentence + ".")
}

/// Which tasks gain and which lose, after correction.
fn tasks(comparison: &Comparison, arm: &ArmResult) -> Option<String> {
    let judged: Vec<usize> = (0..comparison.tasks.len().min(arm.tasks.len()))
        .filter(|&index| arm.tasks[index].transfer.is_some() && arm.tasks[index].corrected_p.is_some())
        .collect();
    if judged.is_empty() || comparison.pilot.is_some() {
        return None;
    }
    let of = |wanted: Option<bool>| -> Vec<String> {
        let is = |&&index: &&usize| tables::verdict(comparison, arm, index) == wanted;
        judged.iter().filter(is).map(|&index| comparison.tasks[index].name.clone()).collect()
    };
    let (gained, lost, open) = (of(Some(true)), of(Some(false)), of(None));
    let part = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", listed(names)));
    let parts: Vec<String> = [part("better on", &gained), part("worse on", &lost), part("not told apart on", &open)]
        .into_iter()
        .flatten()
        .collect();
    Some(format!("Task by task, after Holm's correction: {}.", parts.join("; ")))
}
