//! One arm's tuning on dev: what it tries next, and what its final runs take.
//!
//! Every arm, the baseline among them, has as many trials for the same steps and seeds. The better one has the higher
//! headline score on dev, averaged over tasks and tuning seeds; the first one of equals. Tasks with spoilt labels have no
//! say. In an arm whose tasks never meet, the single-task baseline above all, each task takes the learning rate that is
//! best for it, at every rung: that is what tuning its model alone would have found. Where `smooth` is asked for, a rate's
//! score is averaged with its neighbours' first ([`smooth`]). Successive halving
//! (Jamieson and Talwalkar, "Non-stochastic best arm identification", AISTATS 2016) begins with all combinations and a
//! fraction of the steps, and keeps the better half while doubling the steps. While the best rate of an arm is an end of
//! what it tried, its grid grows there by one value, a few times at most.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Result, bail};

use super::{Combination, rates, smooth};
use crate::experiment::{BRACKET, Keys, Tune};
use crate::{Arm, Plan, Planned, Purpose};

/// The tuning of one arm.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) tune: &'a Tune,
    pub(super) arm: &'a Arm,
    pub(super) plan: &'a Plan,
}

/// How good something is: whether no training of it diverged, which comes first, and a headline score on dev.
type Score = (bool, f64);

/// A combination that was tried with every tuning seed.
pub(super) struct Trial {
    pub(super) combination: Combination,
    /// Whether no seed's training diverged. What breaks down under one of the seeds is taken where all else does too.
    pub(super) sound: bool,
    /// Each task's headline score on dev, mean over the seeds.
    pub(super) tasks: BTreeMap<String, f64>,
}

impl Trial {
    fn mean(&self) -> Score {
        mean(self.tasks.values().map(|score| (self.sound, *score)))
    }
}

/// Sound if all are, and the mean.
fn mean(scores: impl Iterator<Item = Score>) -> Score {
    let (mut sound, mut sum, mut count) = (true, 0., 0usize);
    for (of_one, score) in scores {
        (sound, sum, count) = (sound && of_one, sum + score, count + 1);
    }
    (sound, sum / count.max(1) as f64)
}

/// Best first.
fn order(a: Score, b: Score) -> std::cmp::Ordering {
    b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
}

impl Search<'_> {
    /// What is tried in `stage`, given what was found in those before it.
    pub(super) fn due(&self, stage: usize) -> Result<Vec<Combination>> {
        match stage {
            0 => Ok(self.tune.combinations_with(&self.arm.own)),
            stage if stage < self.tune.rungs() => self.survivors(stage),
            stage => self.grown(stage),
        }
    }

    /// What the final runs take; none if every trial broke.
    pub(super) fn chosen(&self) -> Result<Option<Combination>> {
        let ranked = ranked(self.trials(self.last())?);
        let Some(key) = self.rate_by_task() else {
            return Ok(ranked.into_iter().next().map(|trial| trial.combination));
        };
        // Of every combination of the other keys, each task's best rate; then the combination that is best so.
        let mut best: Option<(Score, Combination)> = None;
        for (first, group) in groups(&ranked, key) {
            let mut by_task: BTreeMap<&str, (Score, String)> = BTreeMap::new();
            for trial in group {
                for (task, &score) in &trial.tasks {
                    let score = (trial.sound, score);
                    if by_task.get(task.as_str()).is_none_or(|(best, _)| order(score, *best).is_lt()) {
                        let rate = rates::of_task(&self.arm.recipe, &trial.combination, key, task)?;
                        by_task.insert(task, (score, rate));
                    }
                }
            }
            let mean = mean(by_task.values().map(|(score, _)| *score));
            if best.as_ref().is_none_or(|(best, _)| order(mean, *best).is_lt()) {
                let mut chosen = first.combination.clone();
                let rates = by_task.into_iter().map(|(task, (_, rate))| (task, rate));
                chosen.insert(rates::TASK_RATES.into(), rates::table(rates));
                best = Some((mean, chosen));
            }
        }
        Ok(best.map(|(_, chosen)| chosen))
    }

    /// The stages whose runs have the last rung's steps.
    fn last(&self) -> Range<usize> {
        let rungs = self.tune.rungs();
        rungs - 1..rungs + self.tune.growth()
    }

    /// The key of the rate, where each task may take its own.
    fn rate_by_task(&self) -> Option<&'static str> {
        self.tune.rate_key().filter(|_| self.arm.apart)
    }

    /// The lines of this arm's tuning.
    fn lines(&self) -> impl Iterator<Item = &Planned> {
        let own = |line: &&Planned| line.purpose == Purpose::Tune && line.arm == self.arm.spec.name;
        self.plan.lines().iter().filter(own).filter(|line| self.rung_of(line).is_some())
    }

    /// The stage of `line` counted from the first one that tunes this arm: an arm with teachers is tuned after all others,
    /// and after what teaches it. None of a run that only teaches.
    fn rung_of(&self, line: &Planned) -> Option<usize> {
        let stages = self.tune.rungs() + self.tune.growth();
        let first = if self.arm.teachers.is_empty() { 0 } else { stages + 1 };
        line.stage.checked_sub(first).filter(|rung| *rung < stages)
    }

    /// Every trial of `stages` that each seed finished, in the plan's order.
    fn trials(&self, stages: Range<usize>) -> Result<Vec<Trial>> {
        let mut found: Vec<(usize, Trial)> = Vec::new();
        for line in self.lines().filter(|line| self.rung_of(line).is_some_and(|rung| stages.contains(&rung))) {
            let Some(record) = self.plan.record(line)? else { continue };
            if record.test_opened_at.is_some() {
                bail!("run {}: a tuning run opened the test split; its result must not be used", line.id);
            }
            let known = found.iter().position(|(_, trial)| trial.combination == line.tuned);
            let at = known.unwrap_or(found.len());
            if known.is_none() {
                let combination = line.tuned.clone();
                found.push((0, Trial { combination, sound: true, tasks: BTreeMap::new() }));
            }
            let (runs, trial) = &mut found[at];
            *runs += 1;
            trial.sound &= record.diverged.is_none();
            for (name, task) in &record.tasks {
                *trial.tasks.entry(name.clone()).or_default() +=
                    task.dev.get(&task.headline).copied().unwrap_or_default();
            }
        }
        let seeds = self.tune.seeds.len();
        let whole = found.into_iter().filter(|(runs, trial)| *runs >= seeds && !trial.tasks.is_empty());
        let mean = |(runs, mut trial): (usize, Trial)| {
            trial.tasks.values_mut().for_each(|score| *score /= runs as f64);
            trial
        };
        let mut whole: Vec<Trial> = whole.map(mean).collect();
        if let Some(key) = self.tune.rate_key().filter(|_| self.tune.smooth) {
            smooth::smooth(&mut whole, key)?;
        }
        Ok(whole)
    }

    /// The better half of the rung before `rung`. Where each task has its own rate, the j-th of them gives every task the
    /// rate that is its j-th best.
    fn survivors(&self, rung: usize) -> Result<Vec<Combination>> {
        let size = self.tune.sizes()[rung];
        let ranked = ranked(self.trials(rung - 1..rung)?);
        let Some(key) = self.rate_by_task() else {
            return Ok(ranked.into_iter().take(size).map(|trial| trial.combination).collect());
        };
        let mut places: Vec<(Score, Combination)> = Vec::new();
        for (_, group) in groups(&ranked, key) {
            let mut by_task: BTreeMap<&str, Vec<(Score, String)>> = BTreeMap::new();
            for trial in &group {
                for (task, &score) in &trial.tasks {
                    let rate = rates::of_task(&self.arm.recipe, &trial.combination, key, task)?;
                    by_task.entry(task).or_default().push(((trial.sound, score), rate));
                }
            }
            by_task.values_mut().for_each(|rates| rates.sort_by(|a, b| order(a.0, b.0)));
            for (at, trial) in group.iter().enumerate() {
                let of_place: Vec<(&str, &(Score, String))> =
                    by_task.iter().filter_map(|(task, rates)| Some((*task, rates.get(at)?))).collect();
                let mean = mean(of_place.iter().map(|(_, (score, _))| *score));
                let mut combination = trial.combination.clone();
                let rates = of_place.into_iter().map(|(task, (_, rate))| (task, rate.clone()));
                combination.insert(rates::TASK_RATES.into(), rates::table(rates));
                places.push((mean, combination));
            }
        }
        places.sort_by(|a, b| order(a.0, b.0));
        places.truncate(size);
        Ok(places.into_iter().map(|(_, combination)| combination).collect())
    }

    /// What is tried beyond the ends of the grid in `stage`; nothing where the best lies inside.
    fn grown(&self, stage: usize) -> Result<Vec<Combination>> {
        let Some(key) = self.tune.rate_key() else { return Ok(Vec::new()) };
        let ranked = ranked(self.trials(self.last().start..stage)?);
        let Some(first) = ranked.first() else { return Ok(Vec::new()) };
        let others = without_rate(&first.combination, key);
        let value = |trial: &Trial| trial.combination.get(key).map_or(Ok(0.), |value| rates::number(value));
        let same: Vec<&Trial> = ranked.iter().filter(|trial| without_rate(&trial.combination, key) == others).collect();
        let mut best = vec![value(first)?];
        if self.arm.apart {
            best = Vec::new();
            for task in first.tasks.keys() {
                let score = |trial: &Trial| (trial.sound, trial.tasks.get(task).copied().unwrap_or(f64::NEG_INFINITY));
                // The first one of equals.
                let of_task = same.iter().min_by(|a, b| order(score(a), score(b)));
                best.extend(of_task.map(|trial| value(trial)).transpose()?);
            }
        }
        // Also what broke down was tried.
        let before = self.lines().filter(|line| self.rung_of(line).is_some_and(|rung| rung < stage));
        let of_arm = before.filter(|line| without_rate(&line.tuned, key) == others || self.arm.own.is_empty());
        let tried = of_arm.filter_map(|line| line.tuned.get(key)).map(|value| rates::number(value));
        let beyond = rates::beyond(&tried.collect::<Result<Vec<f64>>>()?, &best);
        let with = |value: f64| {
            let mut combination = others.clone();
            combination.insert(key.to_string(), rates::rounded(value));
            combination
        };
        Ok(beyond.into_iter().map(with).collect())
    }

    /// How many combinations were tried.
    fn tried(&self) -> usize {
        let mut found: Vec<&Combination> = Vec::new();
        for line in self.lines() {
            if !found.contains(&&line.tuned) {
                found.push(&line.tuned);
            }
        }
        found.len()
    }

    /// The rates that were chosen at an end of what was tried, in words.
    fn edges(&self) -> Result<Vec<String>> {
        let Some(key) = self.tune.rate_key() else { return Ok(Vec::new()) };
        if !matches!(self.tune.keys.get(key), Some(Keys::List(values)) if values.len() > 1) {
            return Ok(Vec::new());
        }
        let Some(chosen) = self.chosen()? else { return Ok(Vec::new()) };
        let mut ends: Vec<(String, String)> = Vec::new();
        let mut end = |what: String, tried: Vec<f64>, best: f64| {
            let (low, high) = tried.iter().fold((f64::INFINITY, 0f64), |(low, high), &v| (low.min(v), high.max(v)));
            let side = if best <= low { "lowest" } else { "highest" };
            if best <= low || best >= high {
                ends.push((what, format!("{best} is the {side} of those tried, {low} to {high}")));
            }
        };
        if self.arm.apart {
            let tasks = self.trials(self.last())?.into_iter().flat_map(|trial| trial.tasks.into_keys());
            let tasks: std::collections::BTreeSet<String> = tasks.collect();
            for task in tasks {
                let of = |combination: &Combination| {
                    rates::number(&rates::of_task(&self.arm.recipe, combination, key, &task)?)
                };
                let tried = self.lines().map(|line| of(&line.tuned)).collect::<Result<_>>()?;
                end(format!("the rate of `{task}`"), tried, of(&chosen)?);
            }
        } else if let Some(best) = chosen.get(key) {
            let tried = self.lines().filter_map(|line| line.tuned.get(key)).map(|value| rates::number(value));
            end(key.to_string(), tried.collect::<Result<_>>()?, rates::number(best)?);
        }
        Ok(ends.into_iter().map(|(what, side)| format!("{what}: {side}")).collect())
    }
}

/// Best first; of equals the first one stays first.
fn ranked(mut trials: Vec<Trial>) -> Vec<Trial> {
    trials.sort_by(|a, b| order(a.mean(), b.mean()));
    trials
}

/// `trials` by what they have beside the rate, in order of first appearance; with the first one of each.
fn groups<'a>(trials: &'a [Trial], key: &str) -> Vec<(&'a Trial, Vec<&'a Trial>)> {
    let mut found: Vec<(Combination, Vec<&Trial>)> = Vec::new();
    for trial in trials {
        let others = without_rate(&trial.combination, key);
        match found.iter_mut().find(|(known, _)| *known == others) {
            Some((_, group)) => group.push(trial),
            None => found.push((others, vec![trial])),
        }
    }
    found.into_iter().filter_map(|(_, group)| Some((*group.first()?, group))).collect()
}

pub(super) fn without_rate(combination: &Combination, key: &str) -> Combination {
    let others = combination.iter().filter(|(name, _)| *name != key && *name != rates::TASK_RATES);
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What a reader has to know of how arms were tuned: rates at the end of what was tried, trials that are not as many, and
/// what one arm chooses task by task and another for all tasks at once.
pub(in crate::tune) fn said(tune: &Tune, arms: &[Arm], plan: &Plan) -> Result<Vec<String>> {
    let mut said = Vec::new();
    let trained: Vec<Search> =
        arms.iter().filter(|arm| arm.of.is_empty()).map(|arm| Search { tune, arm, plan }).collect();
    for search in &trained {
        let edges = search.edges()?;
        if edges.is_empty() {
            continue;
        }
        let most = match tune.growth() {
            0 if tune.keys.values().any(|values| matches!(values, Keys::List(values) if values.len() < BRACKET)) => {
                "a grid needs three values to have an inside".to_string()
            }
            0 => "the grid does not grow".to_string(),
            grown => format!("the grid was grown {grown} times, and no further"),
        };
        said.push(format!(
            "arm `{}`: a better rate may lie beyond ({}; {most})",
            search.arm.spec.name,
            edges.join("; ")
        ));
    }
    let counts: Vec<(&str, usize)> =
        trained.iter().map(|search| (search.arm.spec.name.as_str(), search.tried())).collect();
    if counts.iter().any(|(_, count)| *count != counts[0].1) {
        let shown: Vec<String> = counts.iter().map(|(name, count)| format!("`{name}` {count}")).collect();
        said.push(format!("arms had as many trials to begin with, and grew their grids to: {}", shown.join(", ")));
    }
    Ok(said)
}
