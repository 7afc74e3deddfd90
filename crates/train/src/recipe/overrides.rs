//! `--set section.key=value`, and `--set section.table.key=value`.

use std::fmt;

use anyhow::{Result, bail};
use mtl_sharing::Role;
use serde_json::{Map, Value};

use super::document::Document;
use super::tasks;

/// Keys that went with the member they belonged to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    section: String,
    old: String,
    keys: Vec<String>,
}

impl Dropped {
    /// `keys` of `section` that went with `old`.
    pub(super) fn new(section: &str, old: &str, keys: Vec<String>) -> Self {
        Self { section: section.into(), old: old.into(), keys }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] keys of `{}` dropped: {}", self.section, self.old, self.keys.join(", "))
    }
}

/// Sections whose one key names a registry member, and their keys that belong to no member.
const MEMBERS: &[(&str, &str, &[&str])] = &[
    ("optimizer", "name", &["groups", "task_rates"]),
    ("sampler", "name", &[]),
    ("sharing", "strategy", &[]),
    ("weighting", "rule", &["over", "private"]),
];

/// Applies `overrides` in order. A value that is not TOML is a string. Choosing another member drops the old one's
/// keys, which are answered.
pub(super) fn apply(document: &mut Document, overrides: &[String]) -> Result<Vec<Dropped>> {
    let mut dropped = Vec::new();
    let listed = tasks::names(document);
    for text in overrides {
        let Some((path, value)) = text.split_once('=') else { bail!("--set {text}: write it as section.key=value") };
        let path = path.trim();
        let value = parse(value.trim());
        if let Some(rest) = path.strip_prefix("task.") {
            of_task(document, text, rest, value)?;
            continue;
        }
        let keys: Vec<&str> = path.split('.').collect();
        match keys.as_slice() {
            [key] if !key.is_empty() => {
                super::document::set(&mut document.value, key, value);
            }
            [section, key] if !section.is_empty() && !key.is_empty() => {
                replace(&mut document.value, section, key);
                let mut strategy_changed = None;
                let fields = section_of(&mut document.value, section)?;
                if let Some((_, member, common)) = MEMBERS.iter().find(|(name, _, _)| name == section)
                    && member == key
                    && fields.get(*key) != Some(&value)
                {
                    let own = |name: &String| name != member && !common.contains(&name.as_str());
                    let keys: Vec<String> = fields.keys().filter(|name| own(name)).cloned().collect();
                    let old = fields.get(*member).and_then(Value::as_str).unwrap_or("the default").to_string();
                    keys.iter().for_each(|name| {
                        fields.remove(name);
                    });
                    if !keys.is_empty() {
                        dropped.push(Dropped { section: (*section).to_string(), old: old.clone(), keys });
                    }
                    strategy_changed = (*section == "sharing").then_some(old);
                }
                fields.insert((*key).to_string(), value);
                if let Some(old) = strategy_changed {
                    dropped.extend(drop_groups(&mut document.value, old));
                }
            }
            [section, tables @ .., key] if keys.iter().all(|key| !key.is_empty()) => {
                let mut fields = section_of(&mut document.value, section)?;
                for table in tables {
                    let inner = fields.entry(*table).or_insert_with(|| Value::Object(Map::new()));
                    let Value::Object(inner) = inner else { bail!("--set {text}: `{table}` is {inner}, not a table") };
                    fields = inner;
                }
                fields.insert((*key).to_string(), value);
            }
            _ => bail!("--set {text}: `{path}` is neither a key nor section.key"),
        }
        document.overridden.push(path.to_string());
    }
    tasks::settle(document, true)?;
    dropped.extend(tasks::drop_unlisted(document, &listed));
    Ok(dropped)
}

/// Applies `task.NAME.key=value`, of which `rest` comes after `task`.
fn of_task(document: &mut Document, text: &str, rest: &str, value: Value) -> Result<()> {
    // What overrides before made of the list.
    tasks::settle(document, true)?;
    let Some((name, keys)) = tasks::divide(document, rest) else {
        bail!("--set {text}: write it as task.NAME.key=value");
    };
    let tables = section_of(&mut document.value, "task")?;
    let mut place = tables.entry(&name).or_insert_with(|| Value::Object(Map::new()));
    for (at, key) in keys.iter().enumerate() {
        let Value::Object(fields) = place else { bail!("--set {text}: `{place}` is not a table") };
        let last = at + 1 == keys.len();
        place = fields.entry(*key).or_insert_with(|| Value::Object(Map::new()));
        if last {
            *place = value.clone();
        }
    }
    document.overridden.push(format!("task.{name}.{}", keys.join(".")));
    Ok(())
}

/// Keys that answer one question: an override of the first takes the place of the others.
const ONE_QUESTION: &[(&str, &str, &[&str])] =
    &[("train", "steps", &["epochs", "epochs_of"]), ("train", "epochs", &["steps"])];

/// Removes what an override of `key` takes the place of.
fn replace(recipe: &mut Value, section: &str, key: &str) {
    for (_, _, others) in ONE_QUESTION.iter().filter(|(of, first, _)| *of == section && *first == key) {
        if let Some(Value::Object(fields)) = recipe.get_mut(section) {
            others.iter().for_each(|other| drop(fields.remove(*other)));
        }
    }
    if (section, key) == ("optimizer", "task_rates")
        && let Some(Value::Object(tasks)) = recipe.get_mut("task")
    {
        tasks.values_mut().filter_map(Value::as_object_mut).for_each(|task| drop(task.remove("learning_rate")));
    }
}

/// Removes the groups of parameters that were the strategy `old`'s own: encoders and heads are any strategy's.
fn drop_groups(recipe: &mut Value, old: String) -> Option<Dropped> {
    let groups = recipe.get_mut("optimizer")?.get_mut("groups")?.as_object_mut()?;
    let own = [Role::Added, Role::Mixing].map(Role::name);
    let keys: Vec<String> =
        own.iter().filter(|name| groups.remove(**name).is_some()).map(ToString::to_string).collect();
    (!keys.is_empty()).then(|| Dropped { section: "optimizer.groups".into(), old, keys })
}

fn section_of<'a>(recipe: &'a mut Value, section: &str) -> Result<&'a mut Map<String, Value>> {
    if recipe.get(section).is_none() {
        recipe[section] = Value::Object(Map::new());
    }
    match &mut recipe[section] {
        Value::Object(fields) => Ok(fields),
        other => bail!("--set {section}.…: `{section}` is {other}, not a section"),
    }
}

fn parse(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<toml::Table>().ok();
    parsed
        .and_then(|mut table| table.remove("value"))
        .and_then(|value| serde_json::to_value(value).ok())
        .unwrap_or_else(|| Value::String(text.to_string()))
}
