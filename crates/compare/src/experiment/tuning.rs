//! `[tune]`: what is tuned on dev, and how.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use serde::Deserialize;

use super::table::{Each, MOST_SEEDS};

/// The base learning rate.
pub(crate) const RATE: &str = "optimizer.rate";
/// What every learning rate of an arm is multiplied by, those of its groups of parameters and of its tasks too: each arm is
/// tuned around its own defaults.
pub(crate) const SCALE: &str = "optimizer.scale";
/// How often a grid is grown unless told otherwise.
const GROWTH: usize = 2;
/// The most often.
const MOST_GROWTH: usize = 10;
/// Values that a grid of rates needs to have an inside.
pub(crate) const BRACKET: usize = 3;

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
    /// `grid`: how often an arm's grid of learning rates may grow by one value, by the factor of its last two, while its
    /// best is the lowest or the highest of them; left out, twice for grids of three values or more.
    #[serde(default)]
    pub(crate) grow: Option<usize>,
    /// `grid`: whether a learning rate's dev score is averaged with those of its neighbours on the grid, so that few dev
    /// examples choose a plateau and no lucky peak.
    #[serde(default)]
    pub(crate) smooth: bool,
    /// `"each"`: every tuning seed has dev examples of its own, so that a rate is chosen by many draws of few; left out,
    /// those of the final runs.
    #[serde(default)]
    pub(crate) dev_seed: Option<Each>,
    /// Whether what is drawn beside a rate is drawn so that it meets several.
    #[serde(skip, default = "yes")]
    pub(crate) crossed: bool,
}

fn yes() -> bool {
    true
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

impl Tune {
    pub(super) fn check(&self, seeds: &[u64]) -> Result<()> {
        ensure!(self.budget <= MOST_SEEDS, "[tune] budget: at most {MOST_SEEDS} combinations, found {}", self.budget);
        ensure!(!self.keys.is_empty(), "[tune] keys: nothing to tune");
        ensure!(!self.seeds.is_empty(), "[tune] seeds: at least one is needed");
        if let Some(seed) = self.seeds.iter().find(|seed| seeds.contains(seed)) {
            bail!("[tune] seeds: {seed} is a seed of the final runs; what is tuned on it would be tuned to it");
        }
        ensure!(
            !(self.keys.contains_key(RATE) && self.keys.contains_key(SCALE)),
            "[tune] keys: `{RATE}` and `{SCALE}` are two answers to one question; state one of them"
        );
        if let Some(grow) = self.grow {
            ensure!(grow <= MOST_GROWTH, "[tune] grow: at most {MOST_GROWTH} times, found {grow}");
            ensure!(
                grow == 0 || self.method == Method::Grid,
                "[tune] grow: only method = \"grid\" has a grid to grow; leave it out"
            );
        }
        self.check_keys(&self.keys, "[tune] keys")?;
        let bracketed = |values: &Keys| matches!(values, Keys::List(values) if values.len() >= BRACKET);
        let has_neighbours = self.rate_key().and_then(|key| self.keys.get(key)).is_some_and(bracketed);
        ensure!(
            !self.smooth || (self.method == Method::Grid && has_neighbours),
            "[tune] smooth: only a grid of {BRACKET} learning rates or more has neighbours to average over; leave it out"
        );
        ensure!(self.method != Method::Random || self.budget > 0, "[tune] budget: how many combinations are drawn?");
        Ok(())
    }

    /// Checks what one arm has to itself.
    pub(super) fn check_own(&self, own: &BTreeMap<String, Keys>) -> Result<()> {
        if let Some(key) = own.keys().find(|key| self.keys.contains_key(*key) || [RATE, SCALE].contains(&key.as_str()))
        {
            bail!("[[arm]] tune: `{key}` is tuned alike for every arm, in [tune]; take it out");
        }
        self.check_keys(own, "[[arm]] tune")
    }

    fn check_keys(&self, keys: &BTreeMap<String, Keys>, section: &str) -> Result<()> {
        for (key, values) in keys {
            match values {
                Keys::List(values) => {
                    ensure!(!values.is_empty(), "{section}: `{key}` has no value");
                    let above_0 = |value: &toml::Value| {
                        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
                        number.is_some_and(|number| number.is_finite() && number > 0.)
                    };
                    if let Some(odd) = values.iter().find(|value| key == SCALE && !above_0(value)) {
                        bail!("{section}: `{key}` multiplies learning rates by numbers above 0, found {odd}");
                    }
                }
                Keys::Range { low, high } => {
                    ensure!(*low > 0. && low < high, "{section}: `{key}` needs 0 < low < high, found {low} and {high}");
                    ensure!(
                        self.method != Method::Grid && self.budget > 0,
                        "{section}: `{key}` is a range, which \
                        only method = \"random\" or \"halving\" with a budget can draw from"
                    );
                }
            }
        }
        let lists = keys.values().map(|values| if let Keys::List(values) = values { values.len() } else { 1 });
        let combinations = lists.into_iter().try_fold(1usize, |all, values| all.checked_mul(values));
        ensure!(
            combinations.is_some_and(|all| all <= MOST_SEEDS),
            "{section}: their values combine to more than {MOST_SEEDS}"
        );
        Ok(())
    }

    /// The key by which learning rates are tuned, if they are.
    pub(crate) fn rate_key(&self) -> Option<&'static str> {
        [RATE, SCALE].into_iter().find(|key| self.keys.contains_key(*key))
    }

    /// How often an arm's grid of rates may grow.
    pub(crate) fn growth(&self) -> usize {
        let values = match self.rate_key().and_then(|key| self.keys.get(key)) {
            Some(Keys::List(values)) if self.method == Method::Grid => values.len(),
            _ => return 0,
        };
        // Of two values each is an end: there is no inside that a best could lie in.
        match self.grow {
            Some(grow) if values > 1 => grow,
            None if values >= BRACKET => GROWTH,
            _ => 0,
        }
    }
}
