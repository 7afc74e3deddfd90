//! How should these tasks share? Several strategies are tried under one budget, and every task takes what dev says.
//!
//! 1. The candidate that finds its own groups trains for the race; its evidence rules out, for every task, candidates in
//!    which the task shares with one that it is in conflict with.
//! 2. The others race to the same step. A candidate that would share as another one does is left out.
//! 3. What is left of the budget goes to the best affordable set of candidates, each trained on with the tasks that need
//!    it, then to the reference of those who left it, then to the nearest rivals.
//! 4. Every task takes the candidate of the largest expected gain over the reference: mean differences of losses on dev,
//!    paired example by example, shrunken over candidates and tasks ([`Gain`]). What is within one standard error of
//!    what is usual is no reason to leave it: the group that evidence found for the task; where it found none, copies that
//!    are tied, or the reference for a task that is in conflict with every other one.
//! 5. The weights of each task's choice become one run of the strategy [`FOLDED`], its partition given: tasks that chose
//!    to share, share. Its test split is opened once, if the recipe opens it.
//!
//! All of it can be stopped anywhere: decisions are functions of what the candidates' folders hold.

mod candidate;
mod fold;
mod looks;
mod outcome;
mod settle;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use mtl_train::{Located, Observer, Recipe, write_atomically};

use candidate::{Candidate, Trained};
use looks::Looks;
pub use mtl_eval::stats::Gain;
pub use outcome::{Choice, ChosenTask, Cost, Tried};
use settle::{Conflicts, Standing, continued, offers};

/// The strategy of the run that comes of a choice: it takes any partition.
pub const FOLDED: &str = "groups";

/// The strategies that are tried unless others are named; the first is what the others have to beat.
pub const CANDIDATES: [&str; 4] = ["single", "hard", "soft", "groups"];

/// Most candidates: all sets of them are looked through.
const MOST: usize = 16;

/// The share of the steps that the race takes, if the budget allows as much.
const RACE: f64 = 0.25;

/// How a choice is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run folder that comes of it.
    pub out: PathBuf,
    /// The strategies; the first is the reference, in which no tasks share.
    pub candidates: Vec<String>,
    /// What training may cost in all, in trainings: one is the recipe's steps with every task.
    pub budget: f64,
    /// Steps between two looks at dev.
    pub every: usize,
    /// Whether a choice that is in the folder is removed first.
    pub fresh: bool,
    /// The recipe's name, for the report.
    pub recipe_name: String,
    /// The source's commit, if known.
    pub commit: Option<String>,
    /// The device, in words.
    pub device_name: String,
}

/// How it ended.
#[derive(Debug)]
pub enum Chose {
    /// The choice is made, and its run folder is written.
    Finished(Box<Choice>),
    /// Somebody asked to stop; the same call goes on.
    Interrupted,
}

/// The document of a choice, in its run folder.
const DOCUMENT: &str = "choice.json";
/// The same to read.
const TABLE: &str = "choice.md";
/// Where the candidates' runs lie.
const FOLDER: &str = "candidates";

/// Chooses how the tasks of `recipe`, whose paths are those of this process, share.
///
/// # Errors
/// If a candidate is unknown, does not fit or breaks; if the budget is too small to finish one; those of the disk.
pub fn choose(
    recipe: &Recipe,
    located: &Located,
    options: &Options,
    device: &Device,
    observer: &mut dyn Observer,
) -> Result<Chose> {
    let done = options.out.join(DOCUMENT);
    let (steps, tasks) = (recipe.train.steps, recipe.tasks.len());
    let race = race(steps, options)?;
    let candidates = candidates(recipe, race, options)?;
    own(options, &candidates)?;
    let names: Vec<String> = located.datasets.iter().map(|dataset| dataset.name.clone()).collect();
    let all: Vec<usize> = (0..tasks).collect();
    let with = (located, options, device);
    let mut passes = vec![0usize; candidates.len()];
    let mut known: Vec<Option<Looks>> = candidates.iter().map(|_| None).collect();
    let mut left_out: Vec<Option<String>> = vec![None; candidates.len()];

    // Whoever finds groups goes first: what it finds spares others the race.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&at| candidates[at].name != FOLDED);
    let mut conflicts = Conflicts::default();
    let mut apart: Option<(usize, Vec<Vec<usize>>)> = None;
    for at in order {
        let candidate = &candidates[at];
        if let Some((finder, units)) = &apart
            && candidate.shares
            && at != *finder
        {
            let same = units.len() == 1;
            let barred = all.iter().all(|&task| conflicts.pairs.iter().any(|&(a, b)| a == task || b == task));
            if same || barred {
                let name = &candidates[*finder].name;
                left_out[at] = Some(match same {
                    true => format!("`{name}` found one group of all tasks, which is this"),
                    false => format!("`{name}` found that every task is in conflict with another"),
                });
                continue;
            }
        }
        let Trained::There(looks) = candidate.train((race, &all), with, observer)? else {
            return Ok(Chose::Interrupted);
        };
        passes[at] = race * tasks;
        if candidate.name == FOLDED
            && let Some(look) = looks.last(race)
        {
            conflicts = Conflicts::read(at, look, &names);
            apart = Some((at, look.units.clone()));
        }
        known[at] = Some(looks);
    }

    let raced: Vec<usize> = (0..candidates.len()).filter(|&at| known[at].is_some()).collect();
    // From here on candidates are known by their places among those that raced.
    conflicts.from = conflicts.from.and_then(|from| raced.iter().position(|&at| at == from));
    let sets = {
        let standings = standings(&candidates, &known, &raced, |_| all.clone());
        let offers = offers(&standings, &conflicts, tasks, race);
        let spent: usize = passes.iter().sum();
        let budget = (options.budget * (steps * tasks) as f64).floor() as usize;
        let left = budget.saturating_sub(spent) / (steps - race).max(1);
        continued(&standings, &offers, race, left)
    };
    for (&at, set) in raced.iter().zip(&sets) {
        if set.is_empty() {
            left_out[at] = Some("no task took it after the race".into());
            continue;
        }
        let Trained::There(looks) = candidates[at].train((steps, set), with, observer)? else {
            return Ok(Chose::Interrupted);
        };
        passes[at] += (steps - race) * set.len();
        known[at] = Some(looks);
    }

    let trained = |at: usize| raced.iter().position(|&known| known == at).map_or_else(Vec::new, |at| sets[at].clone());
    let standings = standings(&candidates, &known, &raced, trained);
    let offers = offers(&standings, &conflicts, tasks, steps);
    let taken: Vec<usize> = all
        .iter()
        .map(|&task| offers.taken(task, |_| true).with_context(|| format!("no candidate trained `{}`", names[task])))
        .collect::<Result<_>>()?;
    let (report, groups) = fold::fold(recipe, &names, &taken, &standings, &candidates, &raced, with)?;
    let outcome = outcome::Facts {
        names: &names,
        steps,
        race,
        budget: options.budget,
        candidates: &candidates,
        known: &known,
        left_out: &left_out,
        passes: &passes,
        raced: &raced,
        sets: &sets,
        offers: &offers,
        taken: &taken,
        conflicts: &conflicts,
        groups,
        report,
    };
    let choice = outcome.choice();
    write_atomically(&done, &serde_json::to_vec_pretty(&choice)?)?;
    write_atomically(&options.out.join(TABLE), choice.to_markdown().as_bytes())?;
    Ok(Chose::Finished(Box::new(choice)))
}

/// Makes sure that the run folder is a choice's, and clears it if it is to begin anew.
fn own(options: &Options, candidates: &[Candidate]) -> Result<()> {
    let folder = options.out.join(FOLDER);
    if options.out.join("recipe.toml").exists() && !folder.exists() {
        bail!("{}: holds a run that is no choice's; choose another --out", options.out.display());
    }
    if !options.fresh {
        return Ok(());
    }
    for name in [DOCUMENT, TABLE] {
        let path = options.out.join(name);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    // What lies there beside runs is somebody's own.
    for candidate in candidates.iter().filter(|candidate| candidate.folder.join("recipe.toml").exists()) {
        let folder = &candidate.folder;
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// The candidates that `options` names, checked against each other.
fn candidates(recipe: &Recipe, race: usize, options: &Options) -> Result<Vec<Candidate>> {
    if recipe.tasks.len() < 2 {
        bail!("there is nothing to choose with one task: it has nobody to share with");
    }
    for (at, name) in options.candidates.iter().enumerate() {
        if options.candidates[..at].contains(name) {
            bail!("the candidate `{name}` is named twice");
        }
    }
    let found: Vec<Candidate> =
        options.candidates.iter().map(|name| Candidate::new(recipe, name, race, options)).collect::<Result<_>>()?;
    if let Some(first) = found.first().filter(|first| first.shares) {
        bail!(
            "the first candidate is what the others have to beat, in which tasks share nothing; `{}` shares",
            first.name
        );
    }
    Ok(found)
}

/// The step at which the race ends: a quarter of all, or as little as leaves the budget for one training.
fn race(steps: usize, options: &Options) -> Result<usize> {
    let (candidates, budget) = (options.candidates.len(), options.budget);
    if !(2..=MOST).contains(&candidates) {
        bail!("a choice is among 2 to {MOST} candidates, found {candidates}");
    }
    let affordable = (budget - 1.) / (candidates - 1) as f64;
    let race = (RACE.min(affordable) * steps as f64).floor();
    if !(race >= 1. && budget.is_finite()) || steps < 2 {
        bail!(
            "a budget of {budget} trainings of {steps} steps leaves no race of {candidates} candidates; give at least {:.2}",
            1. + (candidates - 1) as f64 * (1. / steps as f64).max(0.05)
        );
    }
    Ok((race as usize).min(steps - 1))
}

/// The candidates that raced, each with the tasks that `tasks` says.
fn standings<'a>(
    candidates: &'a [Candidate],
    known: &'a [Option<Looks>],
    raced: &[usize],
    tasks: impl Fn(usize) -> Vec<usize>,
) -> Vec<Standing<'a>> {
    let standing = |&at: &usize| {
        let looks = known[at].as_ref()?;
        Some(Standing { name: &candidates[at].name, looks, tasks: tasks(at) })
    };
    raced.iter().filter_map(standing).collect()
}
