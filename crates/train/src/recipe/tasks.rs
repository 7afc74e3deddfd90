//! The tasks of a recipe, and the settings that a task has to itself.
//!
//! A task is a name in `tasks`, a table there, or a table of its own: `tasks = ["a", { name = "b", limit = 50 }]` says the
//! same as `tasks = ["a"]` with `[[task]]`, `name = "b"` and `limit = 50`, or as `tasks = ["a", "b"]` with `[task.b]` and
//! `limit = 50`, which is how a resolved recipe is written. Every way is brought into that last one before anything else is
//! read, so that `--set task.b.limit=50` means the same over all of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use mtl_sharing::HeadSettings;
use mtl_task::TaskId;
use mtl_weighting::{Class, GroupRule, Rule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::check::known;
use super::document::{Document, set};
use super::names::task_name;
use super::overrides::Dropped;
use super::{Keep, Recipe, StepKind};

/// Settings of one task; what is left out is as for all tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSettings {
    /// Training examples, in place of `train.limit`; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Dev examples, in place of `evaluation.dev_limit` and `evaluation.limit`; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_limit: Option<usize>,
    /// Test examples, in place of `evaluation.test_limit` and `evaluation.limit`; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// Examples of the task in a micro-batch, in place of `train.batch`: exactly so many, whatever the sampler gives the
    /// others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// The base learning rate, in place of `optimizer.rate`, of the parameters that the task alone trains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// What the task's loss is multiplied by, above 0. Everything after sees the product: gradients, weighting rules (so
    /// that one that does not look at the scale of a gradient undoes it), and logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_weight: Option<f64>,
    /// Evaluations without a better headline score of the task before it leaves the training; 0 to stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// What the task's share of a step under the sampler is multiplied by, above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// The headline metric, in place of the dataset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The head, in place of `[head]`, which is the default of keys that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadSettings>,
}

/// Keys of [`TaskSettings`].
pub(super) const KEYS: &[&str] = &[
    "batch",
    "dev_limit",
    "head",
    "learning_rate",
    "limit",
    "loss_weight",
    "metric",
    "patience",
    "test_limit",
    "weight",
];

/// Rules look at pairs of tasks.
const MOST_TASKS: usize = 1000;

/// What `tasks` has to be.
const LIST: &str = "`tasks` must be a list of dataset names, such as [\"spam-assassin\", \"reuters-r8\"]";

impl Recipe {
    /// What the tasks are called in reports, in their order.
    pub fn task_names(&self) -> Vec<String> {
        self.tasks.iter().map(|name| task_name(name)).collect()
    }

    /// The settings of the task called `name`.
    pub fn task(&self, name: &str) -> TaskSettings {
        self.task_settings.get(name).cloned().unwrap_or_default()
    }

    /// The head of the task called `name`.
    pub fn head_of(&self, name: &str) -> &HeadSettings {
        self.task_settings.get(name).and_then(|task| task.head.as_ref()).unwrap_or(&self.head)
    }
}

/// Brings every way to write tasks into one: names in `tasks`, and the settings of each in `task.NAME`.
///
/// Where a task has settings in two places, those in `tasks` go first if `over`: an override put them there.
///
/// # Errors
/// If a table has no name, or a task settings in two places of one file.
pub(super) fn settle(document: &mut Document, over: bool) -> Result<()> {
    let (tasks, task) = (document.value.get("tasks").cloned(), document.value.get("task").cloned());
    let tables = |items: &[Value]| items.iter().any(Value::is_object);
    let listed = match &tasks {
        Some(Value::Array(items)) => items.clone(),
        None if matches!(task, Some(Value::Array(_))) => Vec::new(),
        // Nothing to bring anywhere, or nothing that could be; the check says so.
        _ => return Ok(()),
    };
    if !tables(&listed) && !matches!(task, Some(Value::Array(_))) {
        return Ok(());
    }
    let (mut names, mut settings) = (Vec::new(), Map::new());
    if let Some(Value::Object(given)) = &task {
        settings.clone_from(given);
    }
    let add = |place: &str, settings: &mut Map<String, Value>, mut fields: Map<String, Value>| -> Result<String> {
        let Some(name) = fields.remove("name") else {
            bail!("{place}: a task without a `name`: the name of a dataset, or the path of its manifest")
        };
        let Value::String(name) = name else { bail!("{place}: `name` must be the name of a dataset, found {name}") };
        match settings.get_mut(&task_name(&name)) {
            _ if fields.is_empty() => {}
            None => drop(settings.insert(task_name(&name), Value::Object(fields))),
            Some(Value::Object(known)) if over => known.extend(fields),
            Some(_) => bail!("{place}: the settings of task `{name}` are listed twice; join them"),
        }
        Ok(name)
    };
    for item in listed {
        names.push(match item {
            Value::Object(fields) => Value::String(add(&document.place(&["tasks"]), &mut settings, fields)?),
            item => item,
        });
    }
    if let Some(Value::Array(items)) = task {
        let place = document.place(&["task"]);
        let mut seen = BTreeSet::new();
        for item in items {
            let Value::Object(fields) = item else { bail!("{place}: [[task]] holds {item}, which is not a table") };
            let name = add(&place, &mut settings, fields)?;
            if !seen.insert(name.clone()) {
                bail!("{place}: two tasks are called `{name}`; every task needs a name of its own");
            }
            let is_it = |known: &Value| known.as_str().is_some_and(|known| task_name(known) == task_name(&name));
            if !names.iter().any(is_it) {
                names.push(Value::String(name));
            }
        }
    }
    set(&mut document.value, "tasks", Value::Array(names));
    set(&mut document.value, "task", Value::Object(settings));
    Ok(())
}

/// What the tasks that `document` lists are called.
pub(super) fn names(document: &Document) -> Vec<String> {
    let items = document.value.get("tasks").and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(task_name).collect()
}

/// The name and the keys of `path`, which is an override without its `task`: a name may hold dots.
pub(super) fn divide<'a>(document: &Document, path: &'a str) -> Option<(String, Vec<&'a str>)> {
    let keys = |rest: &'a str| -> Option<Vec<&'a str>> {
        let keys: Vec<&str> = rest.split('.').collect();
        keys.iter().all(|key| !key.is_empty()).then_some(keys)
    };
    if let Some((name, rest)) = path.strip_prefix('"').and_then(|path| path.split_once("\".")) {
        return Some((name.to_string(), keys(rest)?));
    }
    let mut known = names(document);
    known.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in known {
        if let Some(rest) = path.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.')) {
            return Some((name, keys(rest)?));
        }
    }
    // No such task, which the check says; the key is the last part, or what a table of settings is called.
    let (name, rest) = match path.split_once(".head.") {
        Some((name, _)) => (name, path.get(name.len() + 1..)?),
        None => path.rsplit_once('.')?,
    };
    Some((name.to_string(), keys(rest)?))
}

/// Drops the settings of tasks that overrides took out of `tasks`; `before` are those that were listed then.
pub(super) fn drop_unlisted(document: &mut Document, before: &[String]) -> Vec<Dropped> {
    let now = names(document);
    let stated = |name: &str| document.overridden.iter().any(|key| key.starts_with(&format!("task.{name}.")));
    let gone: Vec<&String> = before.iter().filter(|name| !now.contains(name) && !stated(name)).collect();
    let Some(Value::Object(settings)) = document.value.get_mut("task") else { return Vec::new() };
    let dropped = gone.into_iter().filter_map(|name| {
        let keys = settings.remove(name)?.as_object().map(|fields| fields.keys().cloned().collect());
        Some(Dropped::new("task", name, keys.unwrap_or_default()))
    });
    dropped.collect()
}

/// The tasks of a settled document.
pub(super) fn tasks(document: &Document) -> Result<Vec<String>> {
    let place = document.place(&["tasks"]);
    let Some(Value::Array(items)) = document.value.get("tasks") else { bail!("{place}: {LIST}") };
    let (mut tasks, mut known) = (Vec::new(), BTreeSet::new());
    for item in items {
        let Some(name) = item.as_str() else { bail!("{place}: `tasks` holds {item}, which is not a name") };
        if !known.insert(name) {
            bail!("{place}: two tasks are called `{name}`; every task needs a name of its own");
        }
        tasks.push(name.to_string());
    }
    if tasks.is_empty() {
        bail!("{place}: `tasks` is empty; name at least one dataset");
    }
    if tasks.len() > MOST_TASKS {
        bail!("{place}: `tasks` names {} datasets; at most {MOST_TASKS} are trained together", tasks.len());
    }
    Ok(tasks)
}

/// The settings of the tasks of a settled document that have any; `head` is that of the others.
pub(super) fn settings(document: &Document, head: &HeadSettings) -> Result<BTreeMap<String, TaskSettings>> {
    let tables = match document.value.get("task") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(tables)) => tables,
        Some(other) => {
            bail!("{}: `task` must be tables, as [[task]] makes them, found {other}", document.place(&["task"]))
        }
    };
    let listed = names(document);
    let mut settings = BTreeMap::new();
    for (name, value) in tables {
        let place = document.place(&["task", name]);
        if !listed.contains(name) {
            let nearest = mtl_task::nearest(name, listed.iter().map(String::as_str));
            bail!("{place}: no task `{name}`{nearest}; there are {}", listed.join(", "));
        }
        let Value::Object(fields) = value else {
            bail!("{place}: the settings of `{name}` must be a table, found {value}")
        };
        let task = of_task(document, name, fields, head)?;
        if task != TaskSettings::default() {
            settings.insert(name.clone(), task);
        }
    }
    Ok(settings)
}

fn of_task(document: &Document, name: &str, fields: &Map<String, Value>, head: &HeadSettings) -> Result<TaskSettings> {
    let mut object = Value::Object(Map::new());
    for (key, value) in fields {
        let place = document.place(&["task", name, key]);
        known(document, &["task", name, key], KEYS)?;
        // TOML has no null; it is what is made of `nan` and `inf`.
        if value.is_null() {
            bail!("{place}: `{key}` must be finite");
        }
        let value = if key == "head" { head_of(document, name, value, head)? } else { value.clone() };
        set(&mut object, key, value.clone());
        if let Err(error) = serde_json::from_value::<TaskSettings>(object.clone()) {
            bail!("{place}: `{key}` cannot be {value}: {error}");
        }
    }
    Ok(serde_json::from_value(object)?)
}

/// The head that `value` states, over `head`.
fn head_of(document: &Document, name: &str, value: &Value, head: &HeadSettings) -> Result<Value> {
    let place = document.place(&["task", name, "head"]);
    let Value::Object(fields) = value else { bail!("{place}: `head` must be a table, found {value}") };
    let mut whole = serde_json::to_value(head)?;
    let keys: Vec<String> = whole.as_object().into_iter().flat_map(|keys| keys.keys().cloned()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for (key, value) in fields {
        known(document, &["task", name, "head", key], &keys)?;
        let place = document.place(&["task", name, "head", key]);
        set(&mut whole, key, value.clone());
        let read = serde_json::from_value::<HeadSettings>(whole.clone());
        let read = read.map_err(|error| anyhow!("{place}: `{key}` cannot be {value}: {error}"))?;
        if !(0. ..1.).contains(&read.dropout) {
            bail!("{place}: `dropout` must lie in [0, 1), found {}", read.dropout);
        }
    }
    Ok(whole)
}

/// Whether a task leaves the training once it gets no better.
pub(super) fn may_leave(settings: &BTreeMap<String, TaskSettings>) -> bool {
    settings.values().any(|task| task.patience.is_some_and(|patience| patience > 0))
}

/// Refuses tasks that may leave under a rule that could not go on among the others.
pub(super) fn check_rule(document: &Document, recipe: &Recipe, rule: &Rule) -> Result<()> {
    let names = recipe.task_names();
    let patient = |name: &&String| recipe.task(name).patience.is_some_and(|patience| patience > 0);
    let Some(first) = names.iter().find(patient) else { return Ok(()) };
    let stay = names.len() - names.iter().filter(patient).count();
    // A rule over gradients leaves one task alone.
    let fewest = stay.max(if rule.class == Class::Losses { 1 } else { 2 }).min(names.len());
    let tasks: Vec<TaskId> = (0..fewest).map(TaskId).collect();
    match GroupRule::new(rule, &recipe.weighting.settings, &tasks, names.len()) {
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "{}: once tasks have left, rule `{}` would decide among {fewest}: {error}; leave `patience` out, or take \
             another rule",
            document.place(&["task", first, "patience"]),
            rule.name
        ),
    }
}

/// Refuses settings out of range, and those that nothing could follow.
pub(super) fn check(document: &Document, recipe: &Recipe) -> Result<()> {
    for (name, task) in &recipe.task_settings {
        let at = |key: &str| document.place(&["task", name, key]);
        if task.batch == Some(0) {
            bail!("{}: `batch` must be at least 1", at("batch"));
        }
        for (key, value) in [("loss_weight", task.loss_weight), ("weight", task.weight)] {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value <= 0.) {
                bail!("{}: `{key}` must be a finite number above 0, found {value}", at(key));
            }
        }
        if let Some(rate) = task.learning_rate {
            if !rate.is_finite() || rate < 0. {
                bail!("{}: `learning_rate` must be at least 0, found {rate}", at("learning_rate"));
            }
            if recipe.base_rate()? == 0. {
                bail!(
                    "{}: the schedule is one of `optimizer.rate`, which is 0; give it the rate that most tasks have",
                    at("learning_rate")
                );
            }
            if !recipe.task_rates.is_empty() {
                bail!(
                    "{}: `learning_rate` and optimizer.task_rates are two answers to one question; state one of them",
                    at("learning_rate")
                );
            }
        }
        if task.batch.is_some() && task.weight.is_some() && recipe.train.step == StepKind::Joint {
            bail!(
                "{}: `batch` says how many examples of `{name}` are in a step, so that `weight` would change nothing; state \
                 one of them",
                at("weight")
            );
        }
        if task.patience.is_some_and(|patience| patience > 0) {
            if recipe.evaluation.every == 0 {
                bail!("{}: `patience` counts evaluations, but evaluation.every = 0 has only one", at("patience"));
            }
            if recipe.evaluation.keep != Keep::Each {
                bail!(
                    "{}: a task that leaves the training keeps the weights of its own best step, which is what \
                     evaluation.keep = \"each\" does; set that, or leave `patience` out",
                    at("patience")
                );
            }
        }
    }
    Ok(())
}
