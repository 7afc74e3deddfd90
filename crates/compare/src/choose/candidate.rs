//! What may be chosen: the recipe under each candidate strategy, and a training of it that stops where it is told to.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use mtl_task::TaskId;
use mtl_train::{Ended, Located, Observer, Recipe, Run, RunOptions, Start};

use super::looks::{Looks, Watching};
use super::{FOLDED, FOLDER, Options};
use crate::paths;

/// How long the strategy that finds groups looks for evidence.
const EVIDENCE: &str = "warmup_steps";

/// A way to share, and where it is tried.
pub(super) struct Candidate {
    /// The strategy's name.
    pub(super) name: String,
    /// The recipe of its run; paths are those of this process.
    pub(super) recipe: Recipe,
    /// Whether tasks share parameters in it.
    pub(super) shares: bool,
    /// Its run folder.
    pub(super) folder: PathBuf,
}

/// What comes of training a candidate for a while.
pub(super) enum Trained {
    /// It stands where it was to stop; these are all looks at it.
    There(Looks),
    /// Somebody asked to stop.
    Interrupted,
}

impl Candidate {
    /// The strategy `name` in place of that of `recipe`: with its own settings if it is that one, else its defaults. Rules
    /// over gradients give way to the plain sum where nothing is shared; evidence is in after `race` steps.
    ///
    /// # Errors
    /// If there is no such strategy, or it does not fit the recipe.
    pub(super) fn new(recipe: &Recipe, name: &str, race: usize, options: &Options) -> Result<Self> {
        let entry = recipe.registries.strategies.find(name)?;
        let saved = match recipe.evaluation.every {
            0 => recipe.train.steps.div_ceil(8),
            every => every,
        };
        let mut overrides: Vec<String> = [
            "evaluation.test=sealed",
            "evaluation.keep=last",
            "evaluation.every=0",
            "evaluation.patience=0",
            "evaluation.train_curve=false",
            "evaluation.keep_evaluations=false",
        ]
        .map(String::from)
        .to_vec();
        overrides.push(format!("train.save_every={saved}"));
        overrides.push(format!("sharing.strategy={name}"));
        if name == FOLDED {
            let given =
                (recipe.sharing.name == FOLDED).then(|| recipe.sharing.settings.get(EVIDENCE)?.as_u64()).flatten();
            let usual = (entry.defaults)().get(EVIDENCE).and_then(serde_json::Value::as_u64);
            let steps = given.or(usual).unwrap_or(1).min(race as u64);
            overrides.push(format!("sharing.{EVIDENCE}={steps}"));
        }
        let text = recipe.to_toml()?;
        let parse = |overrides: &[String]| Recipe::parse(&recipe.registries, &options.recipe_name, &text, overrides);
        let with_rule = [overrides.clone(), vec!["weighting.rule=equal".into(), "weighting.over=all".into()]].concat();
        let parsed = parse(&overrides);
        let recipe = match parsed {
            Ok((recipe, _)) => recipe,
            // The plain sum looks at no gradient; what else is wrong is wrong under it too.
            Err(error) => parse(&with_rule).map_err(|_| error).with_context(|| format!("candidate `{name}`"))?.0,
        };
        let shares = (entry.shares_with)(&recipe.sharing.settings)?;
        Ok(Self { name: name.to_string(), recipe, shares, folder: options.out.join(FOLDER).join(name) })
    }

    /// The run in the candidate's folder, where it stands.
    fn open(&self, located: &Located, options: &Options, device: &Device) -> Result<Run> {
        let run_options = RunOptions {
            out: self.folder.clone(),
            start: Start::Continue,
            recipe_name: options.recipe_name.clone(),
            fallback: false,
            commit: options.commit.clone(),
            device_name: options.device_name.clone(),
        };
        let recipe = paths::written_recipe(&self.recipe, &self.folder);
        Run::new(recipe, located, run_options, device).with_context(|| format!("candidate `{}`", self.name))
    }

    /// Trains `active` tasks until `stop` steps are done, from where the candidate stands.
    ///
    /// # Errors
    /// Those of the run.
    pub(super) fn train(
        &self,
        (stop, active): (usize, &[usize]),
        (located, options, device): (&Located, &Options, &Device),
        observer: &mut dyn Observer,
    ) -> Result<Trained> {
        let seen = Looks::read(&self.folder)?;
        if seen.last(usize::MAX).is_some_and(|look| look.step >= stop) {
            return Ok(Trained::There(seen));
        }
        let place = || format!("candidate `{}`", self.name);
        let mut run = self.open(located, options, device)?;
        let mut watching = Watching::new(observer, &self.folder, options.every, stop, active.to_vec())?;
        if run.steps_done() < stop {
            watching.note(&format!("candidate `{}`: steps {} to {stop}", self.name, run.steps_done()));
            run.training_only(&active.iter().copied().map(TaskId).collect::<Vec<_>>());
            match run.execute(&mut watching).with_context(place)? {
                Ended::Finished(_) => return Ok(Trained::There(watching.looks)),
                Ended::Interrupted(at) if at < stop => return Ok(Trained::Interrupted),
                Ended::Interrupted(_) => run = self.open(located, options, device)?,
            }
        }
        if run.steps_done() != stop {
            bail!(
                "{}: stands after {} steps, and its looks end before step {stop}; begin anew with --fresh",
                self.folder.display(),
                run.steps_done()
            );
        }
        watching.look(stop, run.assembled()).with_context(place)?;
        Ok(Trained::There(watching.looks))
    }
}
