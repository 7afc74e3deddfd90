//! What may be said of an arm, and no more, in the words that the terminal, every report and `comparison.json` share.
//!
//! * The verdict rests on one interval alone: the mean over tasks of the headline differences from the baseline, by the
//!   crossed bootstrap over examples and seeds. An arm is better or worse where its p, after Holm's correction over the
//!   candidates, does not exceed the level.
//! * Controls, oracles and portfolios are no candidates: each is judged by its own p, outside the correction.
//! * Δm and the tests over seed means are secondary: they are shown and decide nothing.
//! * A task counts as gained or lost only after Holm's correction over the arm's tasks.
//! * A pilot, a single pair of seeds, a missing baseline or an arm without a finished run draw no conclusion.

use serde::{Deserialize, Serialize};

use super::words::{counted, ends, listed, p_is, percent, signed};
use super::{ArmResult, Comparison};
use crate::stats::Interval;

/// Which way a verdict goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// The arm is better than the baseline.
    Better,
    /// It is worse.
    Worse,
    /// It is not told apart from the baseline.
    Undecided,
    /// Nothing may be said.
    None,
}

/// The words on one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which way it goes.
    pub tone: Tone,
    /// The verdict in a few words.
    pub headline: String,
    /// What bears it, a sentence each.
    pub because: Vec<String>,
}

impl Verdict {
    /// The verdict with the first of its reasons, in one line.
    pub fn sentence(&self) -> String {
        match self.because.first() {
            Some(reason) => format!("{}. {reason}", self.headline),
            None => format!("{}.", self.headline),
        }
    }
}

impl Comparison {
    /// Whether a task is significantly better (true) or worse (false) under an arm than under the baseline, after Holm's
    /// correction over the arm's tasks; a pilot tells neither.
    pub fn mark(&self, arm: &ArmResult, task: usize) -> Option<bool> {
        let task = arm.tasks.get(task).filter(|_| self.pilot_of(arm).is_none())?;
        let (transfer, p) = (task.transfer.as_ref()?, task.corrected_p?);
        (p <= self.level && transfer.estimate != 0.).then_some(transfer.estimate > 0.)
    }

    /// Why no conclusion may be drawn from an arm, if it is a pilot by itself or the whole comparison is.
    pub fn pilot_of<'a>(&'a self, arm: &'a ArmResult) -> Option<&'a str> {
        arm.pilot.as_deref().or(self.pilot.as_deref())
    }

    /// The candidates beside the baseline over which p is corrected.
    pub fn candidates(&self) -> usize {
        let counts = |arm: &&ArmResult| arm.arm.name != self.baseline && arm.arm.is_candidate();
        self.arms.iter().filter(counts).filter(|arm| arm.headline.is_some()).count()
    }

    /// The verdict on `arm`, one of this comparison's but the baseline.
    pub fn verdict(&self, arm: &ArmResult) -> Verdict {
        let (tone, headline) = self.judged(arm);
        let mut because = Vec::new();
        because.extend(arm.headline.as_ref().map(|found| self.bears(arm, found)));
        because.extend(self.pilot_of(arm).map(|why| format!("It is a pilot: {}.", why.trim().trim_end_matches('.'))));
        because.extend(arm.headline.as_ref().filter(|_| tone == Tone::Undecided).map(|found| self.possible(found)));
        because.extend(self.secondary(arm));
        because.extend(self.by_task(arm));
        because.extend(runs(arm));
        because.extend(
            arm.arm.batches.as_ref().map(|why| format!("Its steps do not see the baseline's batches: it {why}.")),
        );
        Verdict { tone, headline, because }
    }

    fn judged(&self, arm: &ArmResult) -> (Tone, String) {
        let none = |words: &str| (Tone::None, words.to_string());
        let baseline = self.arms.iter().find(|arm| arm.arm.name == self.baseline);
        if arm.finished == 0 {
            return none("No run finished: nothing can be said");
        }
        if baseline.is_none_or(|baseline| baseline.finished == 0) {
            return none("The baseline did not finish: nothing to compare with");
        }
        if self.pilot_of(arm).is_some() {
            return none("Pilot: no conclusion");
        }
        let Some(found) = arm.headline.as_ref().filter(|found| found.low.is_finite() && found.high.is_finite()) else {
            return none("No interval: no conclusion");
        };
        if found.seeds < 2 {
            return none("One pair of seeds: no conclusion on other seeds");
        }
        let baseline = &self.baseline;
        let p = arm.corrected_p.unwrap_or(found.p);
        match (p <= self.level && found.estimate != 0., found.estimate > 0.) {
            (true, true) => (Tone::Better, format!("Better than {baseline}")),
            (true, false) => (Tone::Worse, format!("Worse than {baseline}")),
            (false, _) if found.excludes_zero() => {
                (Tone::Undecided, format!("Not told apart from {baseline} among so many candidates"))
            }
            (false, _) => (Tone::Undecided, format!("Not told apart from {baseline}")),
        }
    }

    /// The interval that the verdict rests on.
    fn bears(&self, arm: &ArmResult, found: &Interval) -> String {
        let judged: Vec<String> = arm
            .tasks
            .iter()
            .zip(&self.tasks)
            .filter(|(task, _)| task.transfer.is_some())
            .map(|(_, facts)| facts.name.clone())
            .collect();
        let over = match judged.len() {
            count if count == self.tasks.len() => counted(count, "task", "tasks"),
            _ => listed(&judged),
        };
        let corrected = match arm.corrected_p {
            Some(p) if arm.arm.is_candidate() && self.candidates() > 1 => {
                format!(", {} by Holm over {} candidates", p_is(p), self.candidates())
            }
            _ => String::new(),
        };
        format!(
            "Mean gain in headline score over {over}: {} ({} % interval {}, {}{corrected}).",
            signed(found.estimate, 4),
            percent(found.confidence),
            ends(found, 4),
            p_is(found.p)
        )
    }

    /// What an interval about 0 leaves open.
    fn possible(&self, found: &Interval) -> String {
        let detectable = found.detectable(self.level);
        format!(
            "Anything from {} to {} remains possible; that no difference was found does not show that there is none, and \
             a difference below {detectable:.4} is found less than four times in five.",
            signed(found.low, 4),
            signed(found.high, 4)
        )
    }

    /// Δm and the tests over seeds, which decide nothing.
    fn secondary(&self, arm: &ArmResult) -> Option<String> {
        let with = |gain: &Interval| format!("{} % {}", signed(gain.estimate, 2), ends(gain, 2));
        let mut parts: Vec<String> = Vec::new();
        parts.extend(arm.gain_headline.as_ref().map(|gain| format!("Δm of the headline metrics {}", with(gain))));
        parts.extend(arm.gain_percent()[0].map(|gain| format!("Δm of all metrics {} %", signed(gain, 2))));
        parts.extend(arm.tests.iter().filter(|found| !found.is_certain()).map(|found| {
            let limit = match found.smallest_p > self.level {
                true => format!(", which cannot reach {}", self.level),
                false => String::new(),
            };
            format!("{} over seed means, {} ({}){limit}", found.test, p_is(found.p), found.direction())
        }));
        (!parts.is_empty()).then(|| format!("Secondary, deciding nothing: {}.", parts.join("; ")))
    }

    /// Which tasks gain and which lose, after correction.
    fn by_task(&self, arm: &ArmResult) -> Option<String> {
        let judged: Vec<usize> = (0..self.tasks.len().min(arm.tasks.len()))
            .filter(|&index| arm.tasks[index].transfer.is_some() && arm.tasks[index].corrected_p.is_some())
            .collect();
        if judged.is_empty() || self.pilot_of(arm).is_some() {
            return None;
        }
        let of = |wanted: Option<bool>| -> Vec<String> {
            let is = |&&index: &&usize| self.mark(arm, index) == wanted;
            judged.iter().filter(is).map(|&index| self.tasks[index].name.clone()).collect()
        };
        let part = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", listed(names)));
        let parts = [("better on", Some(true)), ("worse on", Some(false)), ("not told apart on", None)];
        let parts: Vec<String> = parts.iter().filter_map(|(what, wanted)| part(what, &of(*wanted))).collect();
        Some(format!("Task by task, after Holm's correction: {}.", parts.join("; ")))
    }
}

/// What became of runs that did not go as planned.
fn runs(arm: &ArmResult) -> Vec<String> {
    let mut said = Vec::new();
    let finals = arm.broken.iter().filter(|reason| !reason.starts_with("tuning ")).count();
    if finals > 0 {
        said.push(format!(
            "{} of {} broke; what is said rests on the others, which may be the easier seeds.",
            counted(finals, "run", "runs"),
            finals + arm.finished
        ));
    }
    if arm.broken.len() > finals {
        let count = counted(arm.broken.len() - finals, "tuning run", "tuning runs");
        said.push(format!("{count} broke: what was chosen was chosen among the others."));
    }
    if !arm.diverged.is_empty() {
        let count = counted(arm.diverged.len(), "run", "runs");
        said.push(format!("{count} diverged and count as results, scored as the trivial baseline."));
    }
    said
}
