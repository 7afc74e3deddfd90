//! The words of the verdicts, which [`Comparison::verdict`] finds, and what has to be said before them.

use mtl_eval::comparison::{Comparison, Role, Sampled, Verdict};
use serde::Serialize;

use crate::numbers::{counted, percent};

/// The words on one arm.
#[derive(Debug, Serialize)]
pub(crate) struct Words {
    /// The arm.
    pub(crate) arm: String,
    /// What it is, if it is no candidate: `control: shuffled labels`, `oracle`, `portfolio`.
    pub(crate) role: Option<String>,
    /// The verdict on it.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
}

/// The verdict on every arm but the baseline.
pub(crate) fn verdicts(comparison: &Comparison) -> Vec<Words> {
    let others = comparison.arms.iter().filter(|arm| arm.arm.name != comparison.baseline);
    let words = |arm: &mtl_eval::comparison::ArmResult| Words {
        arm: arm.arm.name.clone(),
        role: match (arm.arm.role(), &arm.arm.control) {
            (Role::Candidate, _) => None,
            (role, Some(control)) => Some(format!("{}: {control}", role.name())),
            (role, None) => Some(role.name().to_string()),
        },
        verdict: comparison.verdict(arm),
    };
    others.map(words).collect()
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
    let seeds = match comparison.sampled {
        Sampled::Initialisations => "initialisations, for the one sample of training examples that all seeds share",
        Sampled::Samples => "samples of training examples",
        Sampled::Both => "samples of training examples and initialisations",
    };
    said.push(format!(
        "A verdict rests on the mean gain in headline score over the tasks; its {} % interval ranges over test examples \
         and over {seeds}.",
        percent(1. - comparison.level)
    ));
    if comparison.candidates() > 1 {
        said.push(format!(
            "It takes p ≤ {} after Holm's correction over {} candidates to be called better or worse. Controls, oracles \
             and portfolios are no candidates: each is judged by its own p, and none is ranked.",
            comparison.level,
            comparison.candidates()
        ));
    }
    let made_before = |arm: &mtl_eval::comparison::ArmResult| arm.headline.is_none() && arm.gain_per_task.is_some();
    if comparison.arms.iter().any(made_before) {
        said.push(
            "Some arm has no such interval, as in comparisons made before verdicts rested on it; made anew from its \
             records, by the command that made it, it has one."
                .to_string(),
        );
    }
    said
}
