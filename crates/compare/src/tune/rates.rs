//! Learning rates as they are tuned: multiplied, and grown.

use anyhow::{Context, Result};
use mtl_train::Recipe;

use super::Combination;
use crate::experiment::SCALE;

/// The base rate of each task, where they differ.
pub(super) const TASK_RATES: &str = "optimizer.task_rates";

/// The number that a TOML value says.
pub(super) fn number(text: &str) -> Result<f64> {
    text.trim().replace('_', "").parse().with_context(|| format!("`{text}` is no number"))
}

/// `value` in six digits, as TOML: 0.3 times 0.003 is 0.0009.
pub(super) fn rounded(value: f64) -> String {
    let short = format!("{value:.5e}").parse::<f64>().unwrap_or(value);
    toml::Value::Float(short).to_string()
}

/// The base rate of `recipe`.
fn base(recipe: &Recipe) -> f64 {
    recipe.optimizer.settings.get("rate").and_then(serde_json::Value::as_f64).unwrap_or_default()
}

/// What multiplies every learning rate of `recipe` by `factor`: the base rate, those of groups of parameters that state
/// one, and those of tasks. What is a multiple of the base rate stays that multiple.
pub(super) fn scaled(recipe: &Recipe, factor: f64) -> Vec<String> {
    let mut overrides = vec![format!("optimizer.rate={}", rounded(factor * base(recipe)))];
    for (role, group) in &recipe.groups {
        match (group.rate, group.scale) {
            (Some(rate), _) => overrides.push(format!("optimizer.groups.{role}.rate={}", rounded(factor * rate))),
            (None, Some(scale)) if scale != 1. => {
                overrides.push(format!("optimizer.groups.{role}.scale={}", toml::Value::Float(scale)));
            }
            _ => {}
        }
    }
    let own: Vec<(String, f64)> =
        recipe.task_names().into_iter().filter_map(|task| own(recipe, &task).map(|rate| (task, rate))).collect();
    if !own.is_empty() {
        let rates = own.iter().map(|(task, rate)| (task.as_str(), rounded(factor * rate)));
        overrides.push(format!("{TASK_RATES}={}", table(rates)));
    }
    overrides
}

/// The base rate that `task` has to itself, if it has one.
fn own(recipe: &Recipe, task: &str) -> Option<f64> {
    recipe.task_rates.get(task).copied().or(recipe.task(task).learning_rate)
}

/// The base rate of `task` under `combination`, whose rate stands under `key`, in an arm of `recipe`.
pub(super) fn of_task(recipe: &Recipe, combination: &Combination, key: &str, task: &str) -> Result<String> {
    if let Some(own) = combination.get(TASK_RATES) {
        let own: toml::Table = format!("rates = {own}").parse()?;
        let rate = own.get("rates").and_then(|rates| rates.get(task));
        return Ok(rate.with_context(|| format!("task `{task}` has no rate"))?.to_string());
    }
    let value = combination.get(key).with_context(|| format!("no {key}"))?;
    if key != SCALE {
        return Ok(value.clone());
    }
    let usual = own(recipe, task).unwrap_or_else(|| base(recipe));
    Ok(rounded(number(value)? * usual))
}

/// Rates by task as an inline table.
pub(super) fn table<'a>(rates: impl Iterator<Item = (&'a str, String)>) -> String {
    let rates: Vec<String> = rates.map(|(task, rate)| format!("{} = {rate}", toml::Value::from(task))).collect();
    format!("{{ {} }}", rates.join(", "))
}

/// The values beyond the ends of `tried` at which one of `best` lies: each as far from its end as that is from its
/// neighbour, by their quotient.
pub(super) fn beyond(tried: &[f64], best: &[f64]) -> Vec<f64> {
    let mut sorted = tried.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let ([low, second, ..], [.., before, high]) = (sorted.as_slice(), sorted.as_slice()) else { return Vec::new() };
    let ends = [(low, low * low / second), (high, high * high / before)];
    let positive = sorted.iter().all(|value| *value > 0.);
    ends.into_iter().filter(|(end, _)| positive && best.contains(end)).map(|(_, next)| next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_grows_at_the_end_where_the_best_lies() {
        let grown = |tried: &[f64], best: &[f64]| beyond(tried, best).into_iter().map(rounded).collect::<Vec<_>>();
        let tried = [1e-3, 3e-3, 1e-2];
        assert_eq!(grown(&tried, &[3e-3]), Vec::<String>::new());
        assert_eq!(grown(&tried, &[1e-2]), ["0.0333333"]);
        assert_eq!(grown(&tried, &[1e-3, 1e-2]), ["0.000333333", "0.0333333"]);
        assert_eq!(grown(&[0.3, 1., 3.], &[0.3]), ["0.09"]);
        assert_eq!(grown(&[1.], &[1.]), Vec::<String>::new());
        assert_eq!(grown(&[0., 1., 2.], &[2.]), Vec::<String>::new());
    }

    #[test]
    fn every_rate_of_an_arm_is_multiplied() {
        let of = |more: &str, factor: f64| {
            let text = format!("tasks = [\"a\", \"b\"]\ncheckpoint = \"c\"\n{more}");
            let (recipe, _) = Recipe::parse(&Default::default(), "x", &text, &[]).expect("a recipe");
            let overrides = scaled(&recipe, factor);
            let (scaled, _) = Recipe::parse(&Default::default(), "x", &text, &overrides).expect("a recipe");
            let rates = |recipe: &Recipe| -> Vec<f64> {
                let groups = recipe.learning_rates().expect("rates").into_values();
                groups.chain(recipe.task_rates.values().copied()).collect()
            };
            let (before, after) = (rates(&recipe), rates(&scaled));
            assert!(before.len() > 1);
            for (before, after) in before.iter().zip(&after) {
                assert!((after / before - factor).abs() < 1e-4, "{more}: {before} {after}");
            }
            scaled
        };
        for factor in [0.1, 0.3, 3., 10.] {
            of("[sharing]\nstrategy = \"hard\"", factor);
            of("[sharing]\nstrategy = \"adapter\"\n[optimizer]\nrate = 0.001", factor);
            of(
                "[sharing]\nstrategy = \"adapter\"\n[optimizer]\nrate = 0.001\ngroups = { added = { rate = 0.02 } }",
                factor,
            );
            let own = "[sharing]\nstrategy = \"single\"\n[optimizer]\ntask_rates = { a = 0.001 }";
            assert_eq!(of(own, factor).task_rates.len(), 1);
            let task = "[sharing]\nstrategy = \"single\"\n[task.b]\nlearning_rate = 0.001";
            let rates = of(task, factor).task_rates;
            assert!((rates["b"] / 0.001 - factor).abs() < 1e-4, "{rates:?}");
        }
    }
}
