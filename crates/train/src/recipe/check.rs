//! From a document to a checked recipe: every key known, every value of its type, every cell of the grid that cannot
//! be refused with reason and remedy.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use mtl_sharing::HeadSettings;
use mtl_weighting::{Class, Private};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::document::Document;
use super::names::task_name;
use super::typed::typed;
use super::{DecisionScope, Distill, Evaluation, Keep, Member, Recipe, Schedule, ScopeName, StepKind, Train};
use super::{bounds, distill, epochs, groups, tasks};
use crate::control::Control;
use crate::{Registries, optim, schedule};

const KEYS: &[&str] = &[
    "checkpoint",
    "control",
    "distill",
    "evaluation",
    "head",
    "optimizer",
    "sampler",
    "schedule",
    "sharing",
    "task",
    "tasks",
    "train",
    "weighting",
];

pub(super) fn recipe(document: &Document, registries: &Arc<Registries>) -> Result<Recipe> {
    let Value::Object(fields) = &document.value else { bail!("{}: no table", document.name) };
    for key in fields.keys() {
        known(document, &[key], KEYS)?;
    }
    let tasks = tasks::tasks(document)?;
    let checkpoint = match fields.get("checkpoint") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        Some(other) => bail!("{}: `checkpoint` must be a model's name, found {other}", document.place(&["checkpoint"])),
        None => bail!("{}: `checkpoint` is missing: a name in models/, or a path", document.name),
    };
    let weighting_fields = section(document, "weighting")?;
    let rule_name = member_name(document, &weighting_fields, "weighting", "rule", "equal")?;
    let rule =
        registries.rules.find(&rule_name).map_err(|e| anyhow!("{}: {e}", document.place(&["weighting", "rule"])))?;
    let weighting =
        member(document, "weighting", "rule", rule.name, &weighting_fields, &(rule.defaults)(), &["over", "private"])?;
    let private: Private = field(document, &weighting_fields, "weighting", "private")?.unwrap_or_default();
    let over = field(document, &weighting_fields, "weighting", "over")?;
    let over = over.unwrap_or(DecisionScope::Name(match rule.class {
        // Losses are of no parameters.
        Class::Losses => ScopeName::All,
        Class::Gram | Class::Jacobian => ScopeName::Owners,
    }));

    let sharing_fields = section(document, "sharing")?;
    let strategy_name = member_name(document, &sharing_fields, "sharing", "strategy", "hard")?;
    let strategy = registries
        .strategies
        .find(&strategy_name)
        .map_err(|e| anyhow!("{}: {e}", document.place(&["sharing", "strategy"])))?;
    let sharing = member(document, "sharing", "strategy", strategy.name, &sharing_fields, &(strategy.defaults)(), &[])?;
    (strategy.check)(&sharing.settings, tasks.len()).map_err(|e| anyhow!("{}: {e:#}", document.place(&["sharing"])))?;

    let sampler_fields = section(document, "sampler")?;
    let sampler_name = member_name(document, &sampler_fields, "sampler", "name", "uniform")?;
    let sampler_kind = registries
        .samplers
        .find(&sampler_name)
        .map_err(|e| anyhow!("{}: {e:#}", document.place(&["sampler", "name"])))?;
    let defaults = (sampler_kind.defaults)();
    let sampler = member(document, "sampler", "name", sampler_kind.name, &sampler_fields, &defaults, &[])?;
    // Its settings do not depend on the sizes of the tasks, which are not known yet.
    mtl_data::Sampler::new(sampler_kind, &sampler.settings, &vec![1; tasks.len()], 0)
        .map_err(|e| anyhow!("{}: {e:#}", document.place(&["sampler"])))?;

    let optimizer_fields = section(document, "optimizer")?;
    let optimizer_name = member_name(document, &optimizer_fields, "optimizer", "name", "adamw")?;
    let optimizer = registries
        .optimizers
        .find(&optimizer_name)
        .map_err(|e| anyhow!("{}: {e:#}", document.place(&["optimizer", "name"])))?;
    let optimizer = member(
        document,
        "optimizer",
        "name",
        optimizer.name,
        &optimizer_fields,
        &(optimizer.defaults)(),
        &["groups", "task_rates"],
    )?;
    (registries.optimizers.find(&optimizer.name)?.check)(&optimizer.settings)
        .and_then(|()| optim::rate(&optimizer.name, &optimizer.settings))
        .map_err(|e| anyhow!("{}: {e:#}", document.place(&["optimizer"])))?;

    let groups = groups::resolve(document, &optimizer_fields, strategy, &optimizer)?;
    let mut train = typed::<Train>(document, "train")?;
    epochs::settle(document, &mut train, &tasks.iter().map(|name| task_name(name)).collect::<Vec<_>>())?;
    let head = typed::<HeadSettings>(document, "head")?;
    let task_settings = tasks::settings(document, &head)?;
    let mut evaluation = typed::<Evaluation>(document, "evaluation")?;
    if tasks::may_leave(&task_settings) && !section(document, "evaluation")?.contains_key("keep") {
        evaluation.keep = Keep::Each;
    }
    let recipe = Recipe {
        registries: registries.clone(),
        task_settings,
        head,
        train,
        schedule: typed::<Schedule>(document, "schedule")?,
        distill: distill(document, &tasks)?,
        evaluation,
        control: typed::<Control>(document, "control")?,
        tasks,
        checkpoint,
        sharing,
        weighting,
        private,
        over,
        sampler,
        optimizer,
        groups,
        task_rates: field(document, &optimizer_fields, "optimizer", "task_rates")?.unwrap_or_default(),
    };
    bounds::check(document, &recipe)?;
    ranges(document, &recipe)?;
    tasks::check(document, &recipe)?;
    (rule.build)(recipe.tasks.len(), &recipe.weighting.settings)
        .map_err(|e| anyhow!("{}: {e}", document.place(&["weighting"])))?;
    tasks::check_rule(document, &recipe, rule)?;
    // One task groups with nobody, over all that it reaches.
    let shares = recipe.tasks.len() == 1 || (strategy.shares_with)(&recipe.sharing.settings)?;
    grid(document, &recipe, rule.class, shares)?;
    Ok(recipe)
}

/// The teachers, if the recipe has a section of them.
fn distill(document: &Document, tasks: &[String]) -> Result<Option<Distill>> {
    if document.value.get("distill").is_none() {
        return Ok(None);
    }
    let found = typed::<Distill>(document, "distill")?;
    distill::check(document, &found, &tasks.iter().map(|name| task_name(name)).collect::<Vec<_>>())?;
    Ok(Some(found))
}

/// Cells of the grid that cannot run.
fn grid(document: &Document, recipe: &Recipe, class: Class, shares: bool) -> Result<()> {
    let rule = &recipe.weighting.name;
    let logged = document.place(&["train", "log_gradients"]);
    if class != Class::Losses && recipe.train.log_gradients != 1 {
        bail!(
            "{logged}: rule `{rule}` looks at each task's gradient in every step, so there is none to save; leave \
             `log_gradients` out, or take a rule over losses (equal, uncertainty)"
        );
    }
    if matches!(recipe.private, Private::Own | Private::Normalised) && recipe.train.log_gradients != 1 {
        bail!(
            "{logged}: `weighting.private` weights heads unlike what is shared, so the gradient of the weighted sum of the \
             losses will not do; leave `log_gradients` out, or set weighting.private = \"auto\""
        );
    }
    if class == Class::Losses {
        if !whole(&recipe.over) {
            bail!(
                "{}: rule `{rule}` sees losses alone, so `over` cannot narrow what it looks at; leave it out, or take a \
                 rule over gradients such as nash",
                document.place(&["weighting", "over"])
            );
        }
        return Ok(());
    }
    let place = document.place(&["weighting", "rule"]);
    if !shares {
        bail!(
            "{place}: rule `{rule}` weighs task gradients over shared parameters, but strategy `{}` shares none; take a \
             rule over losses (equal, uncertainty), or a strategy that shares (hard)",
            recipe.sharing.name
        );
    }
    if recipe.train.step == StepKind::One {
        bail!(
            "{place}: rule `{rule}` needs the gradient of every task in every step, but `train.step = \"one\"` draws one \
             task a step; set train.step = \"joint\", or take a rule over losses (equal, uncertainty)"
        );
    }
    if class == Class::Jacobian && !whole(&recipe.over) {
        bail!("{place}: rule `{rule}` works coordinate by coordinate; `over` must be \"all\" or \"owners\"");
    }
    Ok(())
}

/// Whether a rule sees all parameters that it weighs.
fn whole(over: &DecisionScope) -> bool {
    matches!(over, DecisionScope::Name(ScopeName::All | ScopeName::Owners))
}

fn ranges(document: &Document, recipe: &Recipe) -> Result<()> {
    let train = &recipe.train;
    let at = |section: &str, key: &str| document.place(&[section, key]);
    let steps = if train.epochs.is_some() { 1 } else { train.steps };
    let positive = [("steps", steps), ("batch", train.batch), ("accumulate", train.accumulate)];
    for (key, value) in positive {
        if value == 0 {
            bail!("{}: `{key}` must be at least 1", at("train", key));
        }
    }
    if train.max_tokens < 3 {
        bail!("{}: `max_tokens` must be at least 3, two of which are special", at("train", "max_tokens"));
    }
    for (task, &rate) in &recipe.task_rates {
        let place = at("optimizer", "task_rates");
        if !rate.is_finite() || rate < 0. {
            bail!("{place}: the rate of `{task}` must be at least 0, found {rate}");
        }
        if recipe.base_rate()? == 0. {
            bail!("{place}: the schedule is one of `rate`, which is 0; give it the rate that most tasks have");
        }
    }
    if !train.clip.is_finite() || train.clip < 0. {
        bail!("{}: `clip` must be at least 0, found {}", at("train", "clip"), train.clip);
    }
    if let Some(factor) = train.divergence
        && factor != 0.
        && !(factor >= 2. && factor.is_finite())
    {
        bail!("{}: `divergence` must be 0 or at least 2, found {factor}", at("train", "divergence"));
    }
    if train.divergence_steps == Some(0) {
        bail!("{}: `divergence_steps` must be at least 1; divergence = 0 never stops", at("train", "divergence_steps"));
    }
    if let Some(dropout) = train.dropout
        && !(0. ..1.).contains(&dropout)
    {
        bail!("{}: `dropout` must lie in [0, 1), found {dropout}", at("train", "dropout"));
    }
    if !(0. ..1.).contains(&recipe.head.dropout) {
        bail!("{}: `dropout` must lie in [0, 1), found {}", at("head", "dropout"), recipe.head.dropout);
    }
    // Where epochs stand for the steps, they are compared with the warm-up once they are known.
    let steps = if train.epochs.is_some() { usize::MAX } else { train.steps };
    schedule::check(&recipe.registries.schedules, &recipe.schedule, steps)
        .map_err(|e| anyhow!("{}: {e:#}", document.place(&["schedule"])))?;
    let control = &recipe.control;
    if !(0. ..1.).contains(&control.augment) {
        bail!("{}: `augment` must lie in [0, 1), found {}", at("control", "augment"), control.augment);
    }
    if let Some(task) = control.shuffle.iter().find(|task| control.noise.contains(task)) {
        bail!("{}: `{task}` cannot have permuted labels and random ones", at("control", "noise"));
    }
    if recipe.evaluation.batch == 0 {
        bail!("{}: `batch` must be at least 1", at("evaluation", "batch"));
    }
    if recipe.evaluation.patience > 0 && recipe.evaluation.every == 0 {
        bail!("{}: `patience` counts looks at dev, but `every = 0` has only one", at("evaluation", "patience"));
    }
    Ok(())
}

pub(super) fn section(document: &Document, name: &str) -> Result<Map<String, Value>> {
    match document.value.get(name) {
        None => Ok(Map::new()),
        Some(Value::Object(fields)) => Ok(fields.clone()),
        Some(other) => bail!("{}: `{name}` must be a section, found {other}", document.place(&[name])),
    }
}

fn member_name(
    document: &Document,
    fields: &Map<String, Value>,
    section: &str,
    key: &str,
    default: &str,
) -> Result<String> {
    match fields.get(key) {
        None => Ok(default.to_string()),
        Some(Value::String(name)) => Ok(name.clone()),
        Some(other) => bail!("{}: `{key}` must be a name, found {other}", document.place(&[section, key])),
    }
}

/// A member's settings: the defaults with the given ones over them, each of its default's type.
fn member(
    document: &Document,
    section: &str,
    key: &str,
    name: &str,
    given: &Map<String, Value>,
    defaults: &Value,
    common: &[&str],
) -> Result<Member> {
    let mut settings = defaults.as_object().cloned().unwrap_or_default();
    let mut keys: Vec<&str> = defaults.as_object().into_iter().flat_map(|o| o.keys().map(String::as_str)).collect();
    keys.push(key);
    keys.extend(common);
    for (found, value) in given {
        if found == key || common.contains(&found.as_str()) {
            continue;
        }
        known(document, &[section, found], &keys)?;
        let place = document.place(&[section, found]);
        settings.insert(found.clone(), like(value, &defaults[found]).map_err(|e| anyhow!("{place}: `{found}` {e}"))?);
    }
    Ok(Member { name: name.to_string(), settings: Value::Object(settings) })
}

/// `value` if it is of the type that `default` shows; whole numbers pass for numbers.
fn like(value: &Value, default: &Value) -> Result<Value, String> {
    match (value, default) {
        (_, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::String(_), Value::String(_))
        | (Value::Array(_), _)
        | (_, Value::Array(_) | Value::Object(_)) => Ok(value.clone()),
        (Value::Number(number), Value::Number(usual)) if usual.is_f64() => Ok(json!(number.as_f64())),
        (Value::Number(number), Value::Number(_)) if number.is_u64() => Ok(value.clone()),
        (Value::Number(_), Value::Number(_)) => Err(format!("must be a whole number like {default}, found {value}")),
        // Names stand for special values of some numbers and flags; the member itself has the last word.
        (Value::String(_), _) | (_, Value::String(_)) => Ok(value.clone()),
        _ => Err(format!("must be like {default}, found {value}")),
    }
}

fn field<T: DeserializeOwned>(
    document: &Document,
    fields: &Map<String, Value>,
    section: &str,
    key: &str,
) -> Result<Option<T>> {
    let Some(value) = fields.get(key) else { return Ok(None) };
    serde_json::from_value(value.clone())
        .map(Some)
        .map_err(|error| anyhow!("{}: `{key}` cannot be {value}: {error}", document.place(&[section, key])))
}

pub(super) fn known(document: &Document, path: &[&str], keys: &[&str]) -> Result<()> {
    let Some((key, sections)) = path.split_last() else { return Ok(()) };
    if keys.contains(key) {
        return Ok(());
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let section = match sections.join(".") {
        section if section.is_empty() => section,
        section => format!(" in [{section}]"),
    };
    bail!(
        "{}: unknown key `{key}`{section}{}; known are {}",
        document.place(path),
        mtl_task::nearest(key, sorted.iter().copied()),
        sorted.join(", ")
    )
}
