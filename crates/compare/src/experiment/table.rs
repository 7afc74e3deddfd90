//! The keys of an experiment's file.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use mtl_eval::comparison::Role;
use serde::Deserialize;

use super::tuning::{Keys, Tune};

/// The most seeds of an experiment, and combinations that are tried: more than anybody trains.
pub(super) const MOST_SEEDS: usize = 100_000;
/// The most arms: each is trained for every seed.
const MOST_ARMS: usize = 1000;
/// The most resamples of the bootstrap, which are kept.
const MOST_RESAMPLES: usize = 10_000_000;

/// All of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Table {
    /// What the experiment asks.
    pub(crate) about: String,
    /// The recipe that every run starts from: a name, or a path.
    pub(crate) base: String,
    /// Changes of the base recipe, by section and key.
    pub(crate) set: toml::Table,
    /// Arms one by one.
    pub(crate) arm: Vec<ArmTable>,
    /// Arms as a product.
    pub(crate) grid: Grid,
    /// The seeds, or how many of them.
    pub(crate) seeds: Seeds,
    /// The arm that every other one is compared with.
    pub(crate) baseline: String,
    /// The task that controls with corrupted tasks are judged on; left out, the first.
    pub(crate) main: Option<String>,
    /// The training examples of each seed; left out, `"each"` where the recipe limits them.
    pub(crate) data_seed: Option<DataSeed>,
    /// How many dev examples a task has; left out, as the recipe says.
    pub(crate) dev: Option<DevSize>,
    /// A file of claims that this experiment is to be judged by; its hash enters the plan.
    pub(crate) claims: Option<String>,
    /// Level of the tests.
    pub(crate) level: f64,
    /// Resamples of the bootstrap.
    pub(crate) resamples: usize,
    /// What is tuned on dev, on the same budget for every arm.
    pub(crate) tune: Option<Tune>,
    /// Whether checkpoints of finished runs stay on disk.
    pub(crate) keep_checkpoints: bool,
    /// Whether it is shown what picking the epoch on test would have brought.
    pub(crate) leak: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            about: String::new(),
            base: "embedded".into(),
            set: toml::Table::new(),
            arm: Vec::new(),
            grid: Grid::default(),
            seeds: Seeds::Count(5),
            baseline: "single".into(),
            main: None,
            data_seed: None,
            dev: None,
            claims: None,
            level: 0.05,
            resamples: 2000,
            tune: None,
            keep_checkpoints: false,
            leak: false,
        }
    }
}

/// One arm; what is left out is the base recipe's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ArmTable {
    pub(crate) name: Option<String>,
    pub(crate) strategy: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) sampler: Option<String>,
    pub(crate) checkpoint: Option<String>,
    pub(crate) set: toml::Table,
    pub(crate) control: Option<Control>,
    /// Whether its final runs take as many processor seconds as the baseline's, instead of as many steps.
    pub(crate) equal_compute: bool,
    /// What it is to the comparison; left out, a control if it controls for something, else a candidate.
    pub(crate) role: Option<Role>,
    /// Of a portfolio: the arms that it chooses among.
    pub(crate) of: Vec<String>,
    /// Trainings of a seed, from as many initialisations, of which each task takes the one that is best on dev.
    pub(crate) restarts: Option<usize>,
    /// What is tuned of this arm beside what is tuned of all; it has as many trials as every other.
    pub(crate) tune: BTreeMap<String, Keys>,
}

/// Every combination of these is an arm.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Grid {
    pub(crate) strategies: Vec<String>,
    pub(crate) rules: Vec<String>,
    pub(crate) samplers: Vec<String>,
    pub(crate) checkpoints: Vec<String>,
}

impl Grid {
    /// How many arms it makes; none if they cannot be counted.
    fn arms(&self) -> Option<usize> {
        let lists = [&self.strategies, &self.rules, &self.samplers, &self.checkpoints];
        lists.iter().try_fold(1usize, |arms, list| arms.checked_mul(list.len().max(1)))
    }
}

/// What an arm controls for, so that what looks like transfer is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// The other tasks' training labels are permuted.
    Shuffled,
    /// The other tasks' training labels are random.
    Noise,
    /// Single-task models that together are as large as one.
    Capacity,
    /// Single-task models on augmented texts.
    Augmented,
    /// Single-task models under stronger regularisation.
    Regularised,
}

impl Control {
    /// In words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Shuffled => "shuffled labels",
            Self::Noise => "noise task",
            Self::Capacity => "equal capacity",
            Self::Augmented => "augmented single task",
            Self::Regularised => "regularised single task",
        }
    }
}

/// `data_seed = "each"`, or `data_seed = 7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`data_seed` must be \"each\" or a whole number")]
pub(crate) enum DataSeed {
    /// Each seed has training examples of its own, which keep the classes' shares.
    Each(Each),
    /// All have the same.
    Fixed(u64),
}

/// The word `each`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Each {
    Each,
}

/// `dev = "n"`, or `dev = 200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`dev` must be \"n\" or a whole number")]
pub(crate) enum DevSize {
    /// As many as the task has to train on.
    AsTrain(AsTrain),
    /// So many; 0 for all.
    Fixed(u32),
}

/// The word `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum AsTrain {
    #[serde(rename = "n")]
    AsTrain,
}

/// `seeds = 5`, or `seeds = [3, 4]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Seeds {
    Count(usize),
    List(Vec<u64>),
}

impl Seeds {
    pub(crate) fn list(&self) -> Vec<u64> {
        match self {
            Self::Count(count) => (0..*count as u64).collect(),
            Self::List(seeds) => seeds.clone(),
        }
    }
}

/// The most trainings of a seed.
const MOST_RESTARTS: usize = 100;

impl ArmTable {
    /// Whether it is derived from other arms' runs.
    pub(crate) fn is_portfolio(&self) -> bool {
        self.role == Some(Role::Portfolio)
    }

    fn check(&self) -> Result<()> {
        let name = self.name.as_deref().or(self.strategy.as_deref()).unwrap_or_default();
        if let Some(restarts) = self.restarts {
            ensure!(
                (1..=MOST_RESTARTS).contains(&restarts),
                "[[arm]] `{name}`: restarts must be between 1 and {MOST_RESTARTS}, found {restarts}"
            );
            ensure!(
                !self.equal_compute || restarts == 1,
                "[[arm]] `{name}`: restarts and equal_compute are two answers to one question; state one of them"
            );
        }
        if !self.is_portfolio() {
            ensure!(self.of.is_empty(), "[[arm]] `{name}`: `of` is a portfolio's; add role = \"portfolio\"");
            return Ok(());
        }
        ensure!(
            self.of.len() > 1,
            "[[arm]] `{name}`: a portfolio chooses among two arms or more; write of = [\"single\", …]"
        );
        let trained = [&self.strategy, &self.rule, &self.sampler, &self.checkpoint].iter().any(|key| key.is_some());
        ensure!(
            !trained && self.set.is_empty() && self.tune.is_empty() && self.control.is_none() && !self.equal_compute,
            "[[arm]] `{name}`: a portfolio is not trained; it has `name`, `role` and `of` alone"
        );
        ensure!(
            self.restarts.is_none(),
            "[[arm]] `{name}`: a portfolio is not trained; restart the arms it chooses among"
        );
        Ok(())
    }
}

impl Table {
    pub(super) fn check(&self) -> Result<()> {
        if let Seeds::Count(count) = self.seeds {
            ensure!(count <= MOST_SEEDS, "seeds: at most {MOST_SEEDS}, found {count}");
        }
        ensure!(self.resamples <= MOST_RESAMPLES, "resamples: at most {MOST_RESAMPLES}, found {}", self.resamples);
        let seeds = self.seeds.list();
        ensure!(!seeds.is_empty(), "seeds: at least one is needed");
        let mut sorted = seeds.clone();
        sorted.sort_unstable();
        sorted.dedup();
        ensure!(sorted.len() == seeds.len(), "seeds: every seed may be listed once");
        let grid = self.grid.arms();
        let arms = grid.and_then(|grid| grid.checked_add(self.arm.len())).filter(|arms| *arms <= MOST_ARMS);
        ensure!(arms.is_some(), "[[arm]] and [grid]: at most {MOST_ARMS} arms, found more");
        ensure!(self.level > 0. && self.level < 1., "level: must lie between 0 and 1, found {}", self.level);
        ensure!(self.resamples >= 2, "resamples: at least 2 are needed, found {}", self.resamples);
        self.arm.iter().try_for_each(ArmTable::check)?;
        let Some(tune) = &self.tune else {
            ensure!(
                self.arm.iter().all(|arm| arm.tune.is_empty()),
                "[[arm]] tune: how it is tuned stands in a [tune] section; add one"
            );
            ensure!(
                !self.arm.iter().any(|arm| arm.equal_compute),
                "[[arm]] equal_compute: what a step costs is measured in the tuning runs; add a [tune] section"
            );
            return Ok(());
        };
        self.arm.iter().try_for_each(|arm| tune.check_own(&arm.tune))?;
        tune.check(&seeds)
    }
}

/// A table of changes as overrides, whether it is written as `"train.steps" = 1` or as `[set.train] steps = 1`.
pub(crate) fn flattened(table: &toml::Table) -> Vec<String> {
    let one = |(key, value): (&String, &toml::Value)| match value {
        toml::Value::Table(inner) => flattened(inner).into_iter().map(|rest| format!("{key}.{rest}")).collect(),
        value => vec![format!("{key}={value}")],
    };
    table.iter().flat_map(one).collect()
}
