//! An experiment: one TOML file that says which arms are compared, by which seeds, and what is tuned.

mod arms;
mod sampling;
mod table;
mod tuning;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use mtl_eval::comparison::Sampled;
use mtl_train::{Recipe, Registries};

use crate::paths::{anchored, anchored_overrides, anchored_recipe, task_name};
use crate::{Claimed, Document, Library};
pub use arms::{Arm, Refused};
pub(super) use sampling::Sampling;
pub use table::Control;
pub(super) use table::{ArmTable, Table, flattened};
pub(super) use tuning::{BRACKET, Keys, Method, SCALE, Tune};

/// An experiment over a base recipe.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What it was asked for by: a name, or a path.
    pub name: String,
    /// Its title: the file stem.
    pub title: String,
    pub(super) table: Table,
    /// The folder that its relative paths start from.
    pub(super) folder: PathBuf,
    base: Document,
    /// Overrides of every run: the experiment's own, then those of the command line.
    set: Vec<String>,
    /// The overrides of the command line as they were given.
    pub(super) given: Vec<String>,
    /// What it is to be judged by.
    pub(super) claimed: Option<Claimed>,
    /// Where training examples come from.
    pub(super) sampling: Sampling,
    /// What names in recipes mean.
    pub(crate) registries: Arc<Registries>,
}

impl Experiment {
    /// The experiment of `document`, asked for as `name`, with `set` (`section.key=value`, paths starting from the
    /// current folder) applied to every run's recipe.
    ///
    /// # Errors
    /// If a key is unknown or a value odd, or its base recipe is not valid with its changes.
    pub fn parse(name: &str, document: &Document, set: &[String], library: &dyn Library) -> Result<Self> {
        let Document { name: title, location, folder, text } = document;
        let table: Table = match toml::from_str(text) {
            Ok(table) => table,
            // The parser's message carries line, column and the line itself.
            Err(error) => bail!("{location}: {error}"),
        };
        table.check().with_context(|| location.to_string())?;
        let base = library.recipe(&anchored(&table.base, folder)).with_context(|| format!("{location}: base"))?;
        // Every seed is judged on the same examples, or arms could not be compared example by example.
        let mut all: Vec<String> = ["train.data_seed=0", "evaluation.train_curve=true"].map(String::from).to_vec();
        all.extend(table.dev.map(sampling::dev));
        all.extend(anchored_overrides(&flattened(&table.set), folder));
        all.extend(anchored_overrides(set, "".as_ref()));
        let (name, title, folder) = (name.to_string(), title.clone(), folder.clone());
        let registries = library.registries();
        let sampling = Sampling::default();
        let claimed = match &table.claims {
            Some(claims) => {
                let found = Claimed::read(&folder.join(claims)).with_context(|| format!("{location}: claims"))?;
                found.pairs(&title).with_context(|| location.to_string())?;
                Some(found)
            }
            None => None,
        };
        let given = set.to_vec();
        let mut found = Self { name, title, table, folder, base, set: all, given, claimed, sampling, registries };
        let (recipe, _) = Recipe::parse(&found.registries, &found.base.location, &found.base.text, &found.set)
            .with_context(|| format!("{location}: the base recipe with the experiment's [set]"))?;
        let tasks: Vec<String> = recipe.tasks.iter().map(|task| task_name(task)).collect();
        if let Some(main) = &found.table.main
            && !tasks.contains(main)
        {
            bail!("{location}: main: `{main}` is none of the tasks {}", tasks.join(", "));
        }
        found.sampling = Sampling::of(found.table.data_seed, &recipe).with_context(|| location.to_string())?;
        if found.table.tune.as_ref().is_some_and(|tune| tune.dev_seed.is_some()) && !sampling::draws_dev(&recipe) {
            bail!(
                "{location}: [tune] dev_seed = \"each\": nothing limits the dev examples, so that every seed has all of them; \
                 set evaluation.dev_limit, or leave dev_seed out"
            );
        }
        Ok(found)
    }

    /// The experiment as it was planned before plans had a header: one sample for all seeds, and no grid that grows, unless
    /// the file says otherwise.
    pub(super) fn of_before(mut self) -> Self {
        if self.table.data_seed.is_none() {
            self.sampling = Sampling::default();
        }
        if let Some(tune) = &mut self.table.tune {
            tune.grow.get_or_insert(0);
            tune.crossed = false;
        }
        self
    }

    /// The base recipe with the experiment's changes.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        self.resolved(&[])
    }

    /// The differences between arms that its claims ask for.
    pub(super) fn contrasts(&self) -> Result<Vec<(String, String)>> {
        self.claimed.as_ref().map_or(Ok(Vec::new()), |claimed| claimed.pairs(&self.title))
    }

    /// The tasks of the base recipe: names, or paths that this process can follow.
    ///
    /// # Errors
    /// Never for an experiment that was parsed.
    pub fn tasks(&self) -> Result<Vec<String>> {
        Ok(self.recipe()?.tasks)
    }

    /// A recipe of this experiment, whose paths this process can follow.
    ///
    /// # Errors
    /// If it is a cell of the grid that cannot be.
    pub(super) fn resolved(&self, overrides: &[String]) -> Result<Recipe> {
        let all = [&self.set[..], overrides].concat();
        let (recipe, _) = Recipe::parse(&self.registries, &self.base.location, &self.base.text, &all)?;
        // Overrides are anchored already, so what is relative is the base recipe's.
        Ok(anchored_recipe(&recipe, &self.base.folder))
    }

    /// The task that controls with corrupted tasks are judged on: the one named, or the first.
    pub(super) fn main_task(&self, recipe: &Recipe) -> String {
        self.table.main.clone().unwrap_or_else(|| recipe.tasks.first().map(|task| task_name(task)).unwrap_or_default())
    }

    /// How many stages the plan has, those of arms that learn from others' runs left aside: the rungs of the tuning, the
    /// growth of its grids, and the final runs.
    pub fn stages(&self) -> usize {
        self.tuning_stages() + 1
    }

    /// How many stages of the plan tune: the rungs and the growth of the grids.
    pub(super) fn tuning_stages(&self) -> usize {
        self.table.tune.as_ref().map_or(0, |tune| tune.rungs() + tune.growth())
    }

    /// What differs between seeds.
    pub(super) fn sampled(&self) -> Sampled {
        match self.sampling {
            Sampling::Each { .. } => Sampled::Both,
            Sampling::Fixed(_) => Sampled::Initialisations,
        }
    }

    /// The seeds of the final runs.
    pub fn seeds(&self) -> Vec<u64> {
        self.table.seeds.list()
    }
}
