//! The keys of an experiment's file.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

/// The most seeds of an experiment, and combinations that are tried: more than anybody trains.
const MOST_SEEDS: usize = 100_000;
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

/// `[tune]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tune {
    pub(crate) method: Method,
    /// What each key of the recipe may be.
    pub(crate) keys: BTreeMap<String, Keys>,
    /// Seeds of the tuning runs; none of the final ones.
    #[serde(default = "tuning_seeds")]
    pub(crate) seeds: Vec<u64>,
    /// `random`: how many combinations are drawn. `halving`: how many begin; 0 for all of the grid.
    #[serde(default)]
    pub(crate) budget: usize,
    /// Steps of a tuning run (of the last rung); left out, those of a final one.
    #[serde(default)]
    pub(crate) steps: Option<usize>,
}

fn tuning_seeds() -> Vec<u64> {
    vec![1000]
}

/// How combinations are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// All of them.
    Grid,
    /// Some, drawn once for all arms.
    Random,
    /// Many for few steps, the better half for twice as many, and so on.
    Halving,
}

/// The values of a key: a list, or a range that is drawn from log-uniformly.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Keys {
    List(Vec<toml::Value>),
    Range { low: f64, high: f64 },
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
        let Some(tune) = &self.tune else {
            ensure!(
                !self.arm.iter().any(|arm| arm.equal_compute),
                "[[arm]] equal_compute: what a step costs is measured in the tuning runs; add a [tune] section"
            );
            return Ok(());
        };
        ensure!(tune.budget <= MOST_SEEDS, "[tune] budget: at most {MOST_SEEDS} combinations, found {}", tune.budget);
        ensure!(!tune.keys.is_empty(), "[tune] keys: nothing to tune");
        ensure!(!tune.seeds.is_empty(), "[tune] seeds: at least one is needed");
        if let Some(seed) = tune.seeds.iter().find(|seed| seeds.contains(seed)) {
            bail!("[tune] seeds: {seed} is a seed of the final runs; what is tuned on it would be tuned to it");
        }
        for (key, values) in &tune.keys {
            match values {
                Keys::List(values) => ensure!(!values.is_empty(), "[tune] keys: `{key}` has no value"),
                Keys::Range { low, high } => {
                    ensure!(
                        *low > 0. && low < high,
                        "[tune] keys: `{key}` needs 0 < low < high, found {low} and {high}"
                    );
                    ensure!(
                        tune.method != Method::Grid && tune.budget > 0,
                        "[tune] keys: `{key}` is a range, which \
                        only method = \"random\" or \"halving\" with a budget can draw from"
                    );
                }
            }
        }
        let lists = tune.keys.values().map(|values| if let Keys::List(values) = values { values.len() } else { 1 });
        let combinations = lists.into_iter().try_fold(1usize, |all, values| all.checked_mul(values));
        ensure!(
            combinations.is_some_and(|all| all <= MOST_SEEDS),
            "[tune] keys: their values combine to more than {MOST_SEEDS}"
        );
        ensure!(tune.method != Method::Random || tune.budget > 0, "[tune] budget: how many combinations are drawn?");
        Ok(())
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
