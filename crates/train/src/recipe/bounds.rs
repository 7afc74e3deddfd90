//! The most that a recipe's whole numbers may be, so that a slip of the finger is an error with the key's name, and not a
//! machine that runs out of memory.
//!
//! Bounds are far above what anybody trains with; whether a model fits into this machine is another question.

use anyhow::{Result, bail};
use serde_json::Value;

use super::Recipe;
use super::document::Document;

/// Steps, looks, examples: what is only counted.
const COUNTED: u64 = 1_000_000_000;
/// What is allocated in one piece, such as a width or a batch.
const SIZED: u64 = 1 << 16;
/// What copies layers, or starts threads.
const COPIED: u64 = 1 << 10;

/// Keys whose numbers are sizes.
const SIZES: &[&str] =
    &["accumulate", "batch", "hidden", "length", "max_tokens", "rank", "reparameterise", "width", "window"];

/// Keys whose numbers say how often something large is there.
const COPIES: &[&str] = &[
    "experts",
    "heads",
    "layers",
    "levels",
    "private_layers",
    "rounds",
    "selectors",
    "shared_experts",
    "task_experts",
    "threads",
    "ups",
];

/// Keys that name something and count nothing.
const NAMES: &[&str] = &["data_seed", "dev_seed", "sample_seed", "seed"];

/// Refuses whole numbers beyond their bound, by their key.
pub(super) fn check(document: &Document, recipe: &Recipe) -> Result<()> {
    let sections = [
        ("control", serde_json::to_value(&recipe.control)?),
        ("evaluation", serde_json::to_value(&recipe.evaluation)?),
        ("head", serde_json::to_value(&recipe.head)?),
        ("optimizer", recipe.optimizer.settings.clone()),
        ("sampler", recipe.sampler.settings.clone()),
        ("schedule", serde_json::to_value(&recipe.schedule)?),
        ("sharing", recipe.sharing.settings.clone()),
        ("train", serde_json::to_value(&recipe.train)?),
        ("weighting", recipe.weighting.settings.clone()),
    ];
    for (section, value) in &sections {
        within(document, &[section], value)?;
    }
    for (name, settings) in &recipe.task_settings {
        let settings = serde_json::to_value(settings)?;
        within(document, &["task", name], &settings)?;
        if let Some(head) = settings.get("head") {
            within(document, &["task", name, "head"], head)?;
        }
    }
    Ok(())
}

/// Refuses whole numbers beyond their bound in the section at `path`.
fn within(document: &Document, path: &[&str], section: &Value) -> Result<()> {
    for (key, value) in
        section.as_object().into_iter().flatten().filter(|(_, value)| !value.is_object() || path.len() < 2)
    {
        let Some(most) = most(key) else { continue };
        if let Some(found) = beyond(value, most) {
            bail!("{}: `{key}` may be at most {most}, found {found}", document.place(&[path, &[key]].concat()));
        }
    }
    Ok(())
}

/// The bound of the whole numbers called `key`; none for names.
fn most(key: &str) -> Option<u64> {
    let bound = |keys: &[&str], most| keys.contains(&key).then_some(most);
    match NAMES.contains(&key) {
        true => None,
        false => bound(COPIES, COPIED).or(bound(SIZES, SIZED)).or(Some(COUNTED)),
    }
}

/// A whole number of `value`, or of what it holds, that is above `most`.
fn beyond(value: &Value, most: u64) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().filter(|found| *found > most),
        Value::Array(items) => items.iter().find_map(|item| beyond(item, most)),
        Value::Object(fields) => fields.values().find_map(|item| beyond(item, most)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Recipe, Registries};

    #[test]
    fn every_whole_number_of_every_member_has_a_bound() {
        let registries = Arc::new(Registries::default());
        let text = "tasks = [\"a\", \"b\"]\ncheckpoint = \"c\"";
        let refused = |first: &str, key: &str| {
            let overrides = [first.to_string(), format!("{key}=9000000000000000000")];
            let error = Recipe::parse(&registries, "r.toml", text, &overrides).expect_err(key).to_string();
            let name = key.rsplit('.').next().unwrap_or(key);
            assert!(error.contains(name) && error.contains(key), "{key}: {error}");
        };
        let whole = |settings: &serde_json::Value| -> Vec<String> {
            let fields = settings.as_object().expect("an object").iter();
            fields.filter(|(key, value)| value.is_u64() && *key != "seed").map(|(key, _)| key.clone()).collect()
        };
        let mut tried = 0;
        for strategy in &registries.strategies {
            for key in whole(&(strategy.defaults)()) {
                refused(&format!("sharing.strategy={}", strategy.name), &format!("sharing.{key}"));
                tried += 1;
            }
        }
        for rule in &registries.rules {
            for key in whole(&(rule.defaults)()) {
                refused(&format!("weighting.rule={}", rule.name), &format!("weighting.{key}"));
                tried += 1;
            }
        }
        for key in ["steps", "batch", "accumulate", "max_tokens", "limit", "save_every", "threads", "divergence_steps"]
        {
            refused("train.step=joint", &format!("train.{key}"));
        }
        for key in ["every", "patience", "dev_limit", "test_limit", "limit", "batch"] {
            refused("train.step=joint", &format!("evaluation.{key}"));
        }
        refused("train.step=joint", "head.hidden");
        for key in ["limit", "dev_limit", "test_limit", "batch", "patience", "head.hidden"] {
            refused("evaluation.keep=each", &format!("task.a.{key}"));
        }
        refused("train.step=joint", "schedule.warmup_steps");
        assert!(tried > 20, "{tried}");
    }

    #[test]
    fn a_seed_may_be_any_number() {
        let registries = Arc::new(Registries::default());
        let overrides = ["train.seed=9000000000000000000".to_string()];
        let text = "tasks = [\"a\", \"b\"]\ncheckpoint = \"c\"";
        assert!(Recipe::parse(&registries, "r.toml", text, &overrides).is_ok());
    }
}
