//! A strategy as a value: what a registry lists, a recipe names and a model is built from.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{BuildContext, RateScales, Sharing, StrategySettings};

/// A sharing strategy, by its name.
#[derive(Clone, Copy)]
pub struct Strategy {
    /// The name a recipe uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Where it was proposed.
    pub paper: &'static str,
    /// Its parameters beyond the heads with the default section: a formula in P (encoder), K (tasks), H (hidden), L
    /// (layers), I (feed-forward width), V and W (rows and width of the word table) and settings by their names, which
    /// may explain itself after a comma.
    pub cost: &'static str,
    /// The source of its module, whose header is its page; may be empty.
    pub source: &'static str,
    /// The kinds of parameter that it can have, and the learning rate of each, as a multiple of the recipe's.
    pub rates: RateScales,
    /// Whether tasks can reach a common trained parameter with the default section; gradient weighting needs one.
    pub shares: bool,
    /// Whether they can with this section.
    pub shares_with: fn(&Value) -> Result<bool>,
    /// Its section with every default written out.
    pub defaults: fn() -> Value,
    /// What is wrong with a section, before anything is built.
    pub check: fn(&Value, usize) -> Result<()>,
    /// Builds it.
    pub build: fn(&Value, &mut BuildContext) -> Result<Box<dyn Sharing>>,
}

impl Strategy {
    /// The strategy whose section of the recipe is `S`. `shares` says whether tasks can reach a common trained
    /// parameter with the default section.
    pub const fn of<S: StrategySettings>(
        name: &'static str,
        about: &'static str,
        paper: &'static str,
        cost: &'static str,
        shares: bool,
    ) -> Self {
        let shares_with = if shares { shares_with::<S, true> } else { shares_with::<S, false> };
        Self {
            name,
            about,
            paper,
            cost,
            source: "",
            rates: RateScales::PLAIN,
            shares,
            shares_with,
            defaults: defaults::<S>,
            check: check::<S>,
            build: build::<S>,
        }
    }

    /// The same strategy with the source of its module, whose header `explain` prints.
    #[must_use]
    pub const fn with_source(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    /// The same strategy with parameters of other kinds than an encoder's and heads, or at other learning rates.
    #[must_use]
    pub const fn with_rates(mut self, rates: RateScales) -> Self {
        self.rates = rates;
        self
    }
}

fn defaults<S: StrategySettings>() -> Value {
    serde_json::to_value(S::default()).unwrap_or_default()
}

fn read<S: StrategySettings>(section: &Value) -> Result<S> {
    serde_json::from_value(section.clone()).context("in the section [sharing]")
}

fn shares_with<S: StrategySettings, const DEFAULT: bool>(section: &Value) -> Result<bool> {
    Ok(read::<S>(section)?.shares().unwrap_or(DEFAULT))
}

fn check<S: StrategySettings>(section: &Value, tasks: usize) -> Result<()> {
    read::<S>(section)?.check(tasks).context("in the section [sharing]")
}

fn build<S: StrategySettings>(section: &Value, context: &mut BuildContext) -> Result<Box<dyn Sharing>> {
    read::<S>(section)?.build(context).context("in the section [sharing]")
}
