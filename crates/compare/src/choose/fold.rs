//! From each task's choice to one run folder.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use mtl_eval::Report;
use mtl_task::TaskId;
use mtl_train::{Located, Recipe, Run, RunOptions, Spent, Start, read_tensors};

use super::candidate::Candidate;
use super::looks::{encoder_name, head_name, kept_file};
use super::settle::Standing;
use super::{FOLDED, Options};
use crate::paths;

/// Writes the run in which every task has the weights of the candidate that it took (`taken`, a place among `standings`),
/// and scores it. Answers its report and the groups of tasks that share an encoder.
pub(super) fn fold(
    recipe: &Recipe,
    names: &[String],
    taken: &[usize],
    standings: &[Standing],
    candidates: &[Candidate],
    raced: &[usize],
    (located, options, device): (&Located, &Options, &Device),
) -> Result<(Report, Vec<Vec<usize>>)> {
    let mut weights: BTreeMap<usize, BTreeMap<String, Tensor>> = BTreeMap::new();
    // Tasks share where they took the same encoder of the same candidate.
    let mut groups: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    let mut seconds = 0.;
    for standing in standings {
        seconds += standing.looks.seconds;
    }
    for (task, &at) in taken.iter().enumerate() {
        let standing = &standings[at];
        let look = standing.looks.kept(task, usize::MAX);
        let look =
            look.with_context(|| format!("candidate `{}` has no weights of `{}`", standing.name, names[task]))?;
        let unit = look.unit(task);
        let found = read_tensors(&kept_file(&candidates[raced[at]].folder, unit))?;
        // The encoder is filed under the first task that has it.
        let prefix = |first: usize| encoder_name(first, "");
        let owner = look.encoder(task);
        groups.entry((at, owner)).or_default().push(task);
        weights.insert(task, of_task(&found, &prefix(owner)));
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort();
    let partition: Vec<Vec<&str>> =
        groups.iter().map(|group| group.iter().map(|&task| names[task].as_str()).collect()).collect();
    let recipe = folded(recipe, &partition, options)?;
    let run_options = RunOptions {
        out: options.out.clone(),
        start: if options.fresh { Start::Fresh } else { Start::Continue },
        recipe_name: options.recipe_name.clone(),
        fallback: false,
        commit: options.commit.clone(),
        device_name: options.device_name.clone(),
    };
    let run = Run::new(paths::written_recipe(&recipe, &options.out), located, run_options, device)?;
    let given = given(&run, &weights)?;
    let spent = Spent { seconds, ..Spent::default() };
    Ok((run.end_with(&given, spent)?, groups))
}

/// The tensors of a kept file that one task answers by: its encoder's by their parts, and the heads'.
fn of_task(found: &BTreeMap<String, Tensor>, encoder: &str) -> BTreeMap<String, Tensor> {
    let of = |(name, tensor): (&String, &Tensor)| {
        let name =
            name.strip_prefix(encoder).map(String::from).or_else(|| name.starts_with("head/").then(|| name.clone()))?;
        Some((name, tensor.clone()))
    };
    found.iter().filter_map(of).collect()
}

/// `recipe` as the run that comes of the choice: hard inside the groups of `partition`, its last weights kept.
fn folded(recipe: &Recipe, partition: &[Vec<&str>], options: &Options) -> Result<Recipe> {
    let mut overrides = vec![
        format!("sharing.strategy={FOLDED}"),
        format!("sharing.partition={}", serde_json::to_string(partition)?),
        "evaluation.keep=last".into(),
        "evaluation.patience=0".into(),
        "evaluation.keep_evaluations=false".into(),
    ];
    let text = recipe.to_toml()?;
    let parse = |overrides: &[String]| Recipe::parse(&recipe.registries, &options.recipe_name, &text, overrides);
    let parsed = parse(&overrides);
    Ok(match parsed {
        Ok((recipe, _)) => recipe,
        // Nobody shares, so that no gradients meet.
        Err(error) => {
            overrides.extend(["weighting.rule=equal".into(), "weighting.over=all".into()]);
            parse(&overrides).map_err(|_| error)?.0
        }
    })
}

/// Every parameter of `run`'s model with the values of `weights`, which are each task's.
fn given(run: &Run, weights: &BTreeMap<usize, BTreeMap<String, Tensor>>) -> Result<BTreeMap<String, Tensor>> {
    let model = &run.assembled().trainer.model;
    let mut given = BTreeMap::new();
    for (task, of_task) in weights {
        let find = |name: &str| of_task.get(name).with_context(|| format!("the kept weights lack `{name}`")).cloned();
        for name in model.head(TaskId(*task)) {
            given.insert(name.clone(), find(&head_name(&name))?);
        }
        let heads = model.head(TaskId(*task));
        for name in model.reach(TaskId(*task)).into_iter().filter(|name| !heads.contains(name)) {
            let part = name.rsplit_once('/').map_or(name.as_str(), |(_, part)| part).to_string();
            given.insert(name, find(&part)?);
        }
    }
    Ok(given)
}
