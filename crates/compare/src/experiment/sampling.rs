//! Where a seed's training examples come from, and how many dev examples there are.

use anyhow::{Result, bail};
use mtl_train::Recipe;

use super::table::{DataSeed, DevSize, Each};
use crate::paths::task_name;

/// Where the training examples of a run come from. Dev and test are one fixed draw in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Each seed draws its own.
    Each {
        /// Whether the draw keeps the classes' shares: it does unless the recipe says otherwise.
        stratified: bool,
    },
    /// One draw by this seed, or by the recipe's own.
    Fixed(Option<u64>),
}

impl Default for Sampling {
    fn default() -> Self {
        Self::Fixed(None)
    }
}

impl Sampling {
    /// What `asked` means over the base recipe: left out, each seed has its own examples where there is a limit to draw
    /// under, unless the recipe has a seed for them.
    ///
    /// # Errors
    /// If both name a seed, or there is nothing to draw.
    pub(crate) fn of(asked: Option<DataSeed>, recipe: &Recipe) -> Result<Self> {
        if asked.is_some() && recipe.train.sample_seed.is_some() {
            bail!("data_seed and train.sample_seed are two answers to one question; state one of them");
        }
        if asked == Some(DataSeed::Each(Each::Each)) && !is_limited(recipe) {
            bail!(
                "data_seed = \"each\": nothing limits the training examples, so that every seed has all of them; set \
                 train.limit, or leave data_seed out"
            );
        }
        let each = Self::Each { stratified: recipe.train.stratified.is_none() };
        Ok(match asked {
            Some(DataSeed::Each(_)) => each,
            Some(DataSeed::Fixed(seed)) => Self::Fixed(Some(seed)),
            None if recipe.train.sample_seed.is_none() && is_limited(recipe) => each,
            None => Self::default(),
        })
    }

    /// What it changes in the recipe of the runs of `seed`.
    pub(crate) fn overrides(self, seed: u64) -> Vec<String> {
        match self {
            Self::Each { stratified } => {
                let stratified = stratified.then(|| "train.stratified=true".to_string());
                std::iter::once(format!("train.sample_seed={seed}")).chain(stratified).collect()
            }
            Self::Fixed(seed) => seed.map(|seed| format!("train.sample_seed={seed}")).into_iter().collect(),
        }
    }
}

/// Whether some task has fewer training examples than its source.
fn is_limited(recipe: &Recipe) -> bool {
    recipe.tasks.iter().any(|task| recipe.load_options_of(&task_name(task)).limit_train > 0)
}

/// Whether some task may have fewer dev examples than its source.
pub(crate) fn draws_dev(recipe: &Recipe) -> bool {
    let options = |task: &String| recipe.load_options_of(&task_name(task));
    recipe.tasks.iter().map(options).any(|options| options.limit_dev > 0 || options.dev_as_train)
}

/// What `dev` changes in the base recipe.
pub(crate) fn dev(size: DevSize) -> String {
    match size {
        DevSize::AsTrain(_) => "evaluation.dev_as_train=true".into(),
        DevSize::Fixed(size) => format!("evaluation.dev_limit={size}"),
    }
}
