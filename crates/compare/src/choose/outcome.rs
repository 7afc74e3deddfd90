//! What a choice says of itself.

use std::fmt::Write;

use mtl_eval::Report;
use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::looks::Looks;
use super::settle::{Conflicts, Offers};
use mtl_eval::stats::Gain;

/// A choice: what each task took, why, and at what cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The tasks, in the recipe's order.
    pub tasks: Vec<ChosenTask>,
    /// Steps of the race that all candidates ran.
    pub race: usize,
    /// The candidates, the reference first.
    pub candidates: Vec<Tried>,
    /// Tasks that share an encoder in the run folder, group by group.
    pub groups: Vec<Vec<String>>,
    /// Pairs of tasks that evidence found in conflict: they share in no task's choice.
    pub conflicts: Vec<[String; 2]>,
    /// What training cost.
    pub cost: Cost,
    /// Parameters of the run folder's model, heads included.
    pub parameters: usize,
    /// The run folder's report: its scores on dev, and on test if that was opened.
    pub report: Report,
}

/// What a task took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenTask {
    /// Its name.
    pub name: String,
    /// The candidate that it took.
    pub taken: String,
    /// The candidate that it would have taken without a clear difference.
    pub usual: String,
    /// The tasks that it shares its encoder with.
    pub beside: Vec<String>,
    /// Steps that its weights were trained for: those of the best look at dev.
    pub step: usize,
    /// Dev examples that it chose by.
    pub dev: usize,
    /// The gain of each candidate that it could have taken, by name.
    pub gains: Vec<(String, Gain)>,
}

impl ChosenTask {
    /// The gain that is expected of what it took; none of the reference over itself.
    pub fn gain(&self) -> Option<Gain> {
        self.gains.iter().find(|(name, _)| *name == self.taken).map(|(_, gain)| *gain)
    }
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Its strategy.
    pub name: String,
    /// Tasks that trained in it to the end.
    pub continued: Vec<String>,
    /// Why not all of it was trained; empty if it was.
    pub left_out: String,
    /// Passes that it cost.
    pub passes: usize,
    /// Seconds that it cost, its looks at dev included.
    pub seconds: f64,
    /// Parameters of its model; 0 if it was never built.
    pub parameters: usize,
}

/// What training cost: one pass is a forward and a backward of one task's batch. Looks at dev are not counted, as in a
/// training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Passes in all.
    pub passes: usize,
    /// Passes of one training: steps times tasks.
    pub training: usize,
    /// What was allowed, in trainings.
    pub budget: f64,
    /// Seconds of all candidates.
    pub seconds: f64,
}

/// What a choice is told from.
pub(super) struct Facts<'a> {
    pub(super) names: &'a [String],
    pub(super) steps: usize,
    pub(super) race: usize,
    pub(super) budget: f64,
    pub(super) candidates: &'a [Candidate],
    pub(super) known: &'a [Option<Looks>],
    pub(super) left_out: &'a [Option<String>],
    pub(super) passes: &'a [usize],
    /// The candidates that raced, and the tasks that each went on with.
    pub(super) raced: &'a [usize],
    pub(super) sets: &'a [Vec<usize>],
    pub(super) offers: &'a Offers,
    /// What each task took: a place in `raced`.
    pub(super) taken: &'a [usize],
    pub(super) conflicts: &'a Conflicts,
    pub(super) groups: Vec<Vec<usize>>,
    pub(super) report: Report,
}

impl Facts<'_> {
    pub(super) fn choice(self) -> Choice {
        let named = |tasks: &[usize]| -> Vec<String> { tasks.iter().map(|&task| self.names[task].clone()).collect() };
        let name = |place: usize| self.candidates[self.raced[place]].name.clone();
        let task = |at: usize| {
            let looks = self.known[self.raced[self.taken[at]]].as_ref();
            let look = looks.and_then(|looks| looks.kept(at, self.steps));
            let seen = look.and_then(|look| look.tasks[at].as_ref());
            let group = self.groups.iter().find(|group| group.contains(&at));
            let others: Vec<usize> = group.into_iter().flatten().copied().filter(|&other| other != at).collect();
            let gains = self.offers.gains[at].iter().enumerate();
            ChosenTask {
                name: self.names[at].clone(),
                taken: name(self.taken[at]),
                usual: name(self.offers.usual[at]),
                beside: named(&others),
                step: look.map_or(0, |look| look.step),
                dev: seen.map_or(0, |seen| seen.losses.len()),
                gains: gains.skip(1).filter_map(|(place, gain)| Some((name(place), (*gain)?))).collect(),
            }
        };
        let tried = |at: usize| {
            let looks = self.known[at].as_ref();
            let place = self.raced.iter().position(|&raced| raced == at);
            let continued = place.map_or(&[][..], |place| &self.sets[place]);
            Tried {
                name: self.candidates[at].name.clone(),
                continued: named(continued),
                left_out: self.left_out[at].clone().unwrap_or_default(),
                passes: self.passes[at],
                seconds: looks.map_or(0., |looks| looks.seconds),
                parameters: looks.and_then(|looks| looks.last(self.steps)).map_or(0, |look| look.parameters),
            }
        };
        let candidates: Vec<Tried> = (0..self.candidates.len()).map(tried).collect();
        Choice {
            tasks: (0..self.names.len()).map(task).collect(),
            race: self.race,
            groups: self.groups.iter().map(|group| named(group)).collect(),
            conflicts: (self.conflicts.pairs.iter())
                .map(|&(a, b)| [self.names[a].clone(), self.names[b].clone()])
                .collect(),
            cost: Cost {
                passes: self.passes.iter().sum(),
                training: self.steps * self.names.len(),
                budget: self.budget,
                seconds: candidates.iter().map(|tried| tried.seconds).sum(),
            },
            candidates,
            parameters: self.report.parameters.total,
            report: self.report.clone(),
        }
    }
}

impl Choice {
    /// The choice to read.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from("# How these tasks share\n\n");
        let mut line = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        let tested = self.report.test_opened_at.is_some();
        let split = if tested { "test" } else { "dev" };
        line(format!("| task | takes | shares with | expected gain [95 %] | dev examples | {split} |"));
        line("| --- | --- | --- | --: | --: | --: |".into());
        for task in &self.tasks {
            let gain = task
                .gain()
                .map_or("–".into(), |gain| format!("{:+.3} [{:+.3}, {:+.3}]", gain.expected, gain.low, gain.high));
            let beside = if task.beside.is_empty() { "nobody".into() } else { task.beside.join(", ") };
            let score =
                self.report.tasks.get(&task.name).map_or("–".into(), |report| {
                    format!("{} {:.3}", report.headline, report.test.unwrap_or(report.dev))
                });
            line(format!("| {} | {} | {beside} | {gain} | {} | {score} |", task.name, task.taken, task.dev));
        }
        line(format!(
            "\nA gain is the mean difference of losses on dev to `{}`, paired example by example and shrunken towards 0; what \
             is within a standard error of what is usual for a task ({}) is no reason to leave it.",
            self.candidates.first().map_or("", |first| first.name.as_str()),
            self.usual()
        ));
        if !self.conflicts.is_empty() {
            let pairs: Vec<String> = self.conflicts.iter().map(|[a, b]| format!("{a} and {b}")).collect();
            line(format!("In conflict, so that they share in no choice: {}.", pairs.join("; ")));
        }
        line("\n| candidate | tasks trained to the end | passes | seconds | parameters | left out |".into());
        line("| --- | --- | --: | --: | --: | --- |".into());
        for tried in &self.candidates {
            let continued = if tried.continued.is_empty() { "none".into() } else { tried.continued.join(", ") };
            let Tried { name, passes, seconds, parameters, left_out, .. } = tried;
            line(format!("| {name} | {continued} | {passes} | {seconds:.0} | {parameters} | {left_out} |"));
        }
        let Cost { passes, training, budget, seconds } = self.cost;
        line(format!(
            "\n{passes} passes, {:.2} of the {budget} trainings of {training} passes that were allowed, in {seconds:.0} s; \
             the model has {} parameters in {} encoders.",
            passes as f64 / training.max(1) as f64,
            self.parameters,
            self.groups.len()
        ));
        text
    }

    /// What is usual, in words.
    fn usual(&self) -> String {
        let each: Vec<String> = self.tasks.iter().map(|task| format!("{}: {}", task.name, task.usual)).collect();
        each.join(", ")
    }
}
