//! `[optimizer.groups]`: the learning rate and weight decay of each kind of parameter.
//!
//! A parameter's rate before the schedule is its group's `rate` where it states one, else `scale` times the base rate:
//! `optimizer.rate`, or the task's own in `optimizer.task_rates` where the task alone trains the parameter. What a recipe
//! leaves out is as the strategy has it by default.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_sharing::{Role, Strategy};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::known;
use super::document::Document;
use super::{Member, Recipe};

/// How the parameters of one role are updated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// The learning rate before the schedule, whatever the base rate is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The learning rate as a multiple of the base rate. Of a checked recipe's groups each has this or `rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The weight decay; left out, the optimizer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl Group {
    /// `scale` times the base rate.
    pub(crate) fn scaled(scale: f64) -> Self {
        Self { scale: Some(scale), ..Self::default() }
    }

    /// The learning rate before the schedule where the base rate is `base`.
    pub(crate) fn rate(&self, base: f64) -> f64 {
        self.rate.unwrap_or_else(|| base * self.scale.unwrap_or(1.))
    }
}

impl Recipe {
    /// How parameters of `role` are updated.
    pub fn group(&self, role: Role) -> Group {
        self.groups.get(&role).copied().unwrap_or(Group::scaled(1.))
    }

    /// Whether every group is as the strategy has it by default.
    ///
    /// # Errors
    /// Never for a checked recipe.
    pub(crate) fn has_default_groups(&self) -> Result<bool> {
        Ok(self.groups == defaults(self.registries.strategies.find(&self.sharing.name)?, self.base_rate()?))
    }

    /// The learning rate of each kind of parameter before the schedule, task rates left aside.
    ///
    /// # Errors
    /// Never for a checked recipe.
    pub fn learning_rates(&self) -> Result<BTreeMap<Role, f64>> {
        let base = self.base_rate()?;
        Ok(self.groups.iter().map(|(role, group)| (*role, group.rate(base))).collect())
    }

    /// The same recipe with one learning rate and one weight decay for every kind of parameter, as every run had before
    /// there were groups.
    #[must_use]
    pub(crate) fn with_one_rate(self) -> Self {
        let groups = self.groups.keys().map(|role| (*role, Group::scaled(1.))).collect();
        Self { groups, ..self }
    }
}

/// No default multiple lifts the learning rate of what a strategy adds or mixes above this: base rates for encoders of
/// random weights are high already.
const MOST: f64 = 0.02;

/// The groups of `strategy` where the base rate is `base`.
fn defaults(strategy: &Strategy, base: f64) -> BTreeMap<Role, Group> {
    let scaled = |role: Role, scale: f64| match role {
        Role::Added | Role::Mixing if base > 0. => scale.min((MOST / base).max(1.)),
        _ => scale,
    };
    strategy.rates.iter().map(|(role, scale)| (role, Group::scaled(scaled(role, scale)))).collect()
}

/// The groups of a recipe: those that its section `fields` states, and the rest of the roles that `strategy` knows.
pub(super) fn resolve(
    document: &Document,
    fields: &Map<String, Value>,
    strategy: &Strategy,
    optimizer: &Member,
) -> Result<BTreeMap<Role, Group>> {
    let base = optimizer.settings.get("rate").and_then(Value::as_f64).unwrap_or(0.);
    let mut groups = defaults(strategy, base);
    let stated = match fields.get("groups") {
        None => return Ok(groups),
        Some(Value::Object(stated)) => stated,
        Some(other) => bail!("{}: `groups` must be a table, found {other}", document.place(&["optimizer", "groups"])),
    };
    let names = Role::ALL.map(Role::name);
    for (name, value) in stated {
        let place = document.place(&["optimizer", "groups", name]);
        known(document, &["optimizer", "groups", name], &names)?;
        let Some(role) = Role::ALL.into_iter().find(|role| role.name() == name) else { continue };
        let Some(default) = groups.get(&role).and_then(|group| group.scale) else {
            let roles: Vec<&str> = groups.keys().map(|role| role.name()).collect();
            bail!(
                "{place}: strategy `{}` has no parameters of the kind `{name}`, only {}; leave it out",
                strategy.name,
                roles.join(", ")
            );
        };
        for key in value.as_object().into_iter().flat_map(Map::keys) {
            known(document, &["optimizer", "groups", name, key], &["rate", "scale", "weight_decay"])?;
        }
        let mut group: Group = match serde_json::from_value(value.clone()) {
            Ok(group) => group,
            Err(error) => bail!("{place}: `{name}` cannot be {value}: {error}; write {{ scale = 10.0 }}"),
        };
        check(&group, optimizer).map_err(|error| error.context(format!("{place}: `{name}`")))?;
        if group.rate.is_none() {
            group.scale.get_or_insert(default);
        }
        groups.insert(role, group);
    }
    Ok(groups)
}

fn check(group: &Group, optimizer: &Member) -> Result<()> {
    for (key, value) in [("rate", group.rate), ("scale", group.scale), ("weight_decay", group.weight_decay)] {
        if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.) {
            bail!("`{key}` must be a finite number of at least 0, found {value}");
        }
    }
    if group.rate.is_some() && group.scale.is_some() {
        bail!("`rate` and `scale` are two answers to one question; state one of them");
    }
    if group.rate.is_some() && optimizer.settings.get("rate").and_then(Value::as_f64) == Some(0.) {
        bail!("the schedule is one of `optimizer.rate`, which is 0; give it another, and hold still by `scale = 0.0`");
    }
    if group.weight_decay.is_some() && optimizer.settings.get("weight_decay").is_none() {
        bail!("optimizer `{}` has no `weight_decay`; leave it out", optimizer.name);
    }
    Ok(())
}
