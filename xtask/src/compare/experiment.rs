//! An experiment: one TOML file that says which arms are compared, by which seeds, and what is tuned.

mod arms;
mod table;

use anyhow::{Context, Result, bail};
use mtl_train::Recipe;

use crate::locate::{self, RecipeText};
pub use arms::{Arm, Refused};
pub use table::Control;
pub(super) use table::{ArmTable, Keys, Method, Table, Tune, flattened};

/// An experiment over a base recipe.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What it was asked for by: a name, or a path.
    pub name: String,
    /// Its title: the file stem.
    pub title: String,
    pub(super) table: Table,
    base: RecipeText,
    /// Overrides of every run: the experiment's own, then those of the command line.
    set: Vec<String>,
}

impl Experiment {
    /// The experiment that `name` means, with `set` (`section.key=value`) applied to every run's recipe.
    ///
    /// # Errors
    /// If there is none, a key is unknown or a value odd, or its base recipe does not stand with its changes.
    pub fn find(name: &str, set: &[String]) -> Result<Self> {
        let path = locate::file(name, "xtask/experiments", "experiment")?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let title = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed");
        Self::parse(name, title, &path.display().to_string(), &text, set)
    }

    /// The experiment of a TOML `text`, called `title` in reports and `place` in messages.
    ///
    /// # Errors
    /// As [`Experiment::find`].
    pub fn parse(name: &str, title: &str, place: &str, text: &str, set: &[String]) -> Result<Self> {
        let table: Table = match toml::from_str(text) {
            Ok(table) => table,
            // The parser's message carries line, column and the line itself.
            Err(error) => bail!("{place}: {error}"),
        };
        table.check().with_context(|| place.to_string())?;
        let base = locate::recipe(&table.base).with_context(|| format!("{place}: base"))?;
        // Every seed sees the same examples, or arms could not be compared example by example.
        let mut all: Vec<String> = ["train.data_seed=0", "evaluation.train_curve=true"].map(String::from).to_vec();
        all.extend(flattened(&table.set));
        all.extend(set.iter().cloned());
        let found = Self { name: name.into(), title: title.into(), table, base, set: all };
        let (recipe, _) = Recipe::parse(&found.base.place, &found.base.text, &found.set)
            .with_context(|| format!("{place}: the base recipe with the experiment's [set]"))?;
        if let Some(main) = &found.table.main
            && !recipe.tasks.contains(main)
        {
            bail!("{place}: main: `{main}` is none of the tasks {}", recipe.tasks.join(", "));
        }
        Ok(found)
    }

    /// The base recipe with the experiment's changes.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        self.resolved(&[])
    }

    /// A recipe of this experiment.
    ///
    /// # Errors
    /// If it is a cell of the grid that cannot be.
    pub(super) fn resolved(&self, overrides: &[String]) -> Result<Recipe> {
        let all = [&self.set[..], overrides].concat();
        Ok(Recipe::parse(&self.base.place, &self.base.text, &all)?.0)
    }

    /// The task that controls with spoilt tasks are judged on: the one named, or the first.
    pub(super) fn main_task(&self, recipe: &Recipe) -> String {
        self.table.main.clone().unwrap_or_else(|| task_name(&recipe.tasks[0]))
    }

    /// How many stages the plan has: the rungs of the tuning, and the final runs.
    pub fn stages(&self) -> usize {
        self.table.tune.as_ref().map_or(0, Tune::rungs) + 1
    }

    /// The seeds of the final runs.
    pub fn seeds(&self) -> Vec<u64> {
        self.table.seeds.list()
    }
}

/// A task's name: the file stem of its manifest, if it was named by a path.
pub(super) fn task_name(task: &str) -> String {
    let path = std::path::Path::new(task);
    let stem = if task.ends_with(".toml") { path.file_stem() } else { path.file_name() };
    stem.and_then(|stem| stem.to_str()).unwrap_or(task).to_string()
}
