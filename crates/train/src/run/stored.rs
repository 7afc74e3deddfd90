//! The recipe that a run folder holds: a run goes on by the one that it was begun with, in the words of then.
//!
//! Recipes are compared key by key. Keys that change no result may differ; any other difference is refused, with both
//! values of every key that differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::REPORT;
use crate::assemble::Located;
use crate::recipe::Recipe;
use crate::resume::{self, LAST, hex};
use crate::trained_on::TrainedOn;

/// The file's name.
pub(crate) const RECIPE: &str = "recipe.toml";

/// Keys that change no weight, no score and no answer.
const FREE: [&str; 6] = [
    "train.threads",
    "train.save_every",
    "train.recompute",
    "train.divergence",
    "train.divergence_steps",
    "evaluation.keep_evaluations",
];
/// Keys whose values are names or paths; what lies there has fingerprints of its own.
const PATHS: [&str; 2] = ["tasks", "checkpoint"];
/// The same of folders with teachers, by task or for all.
const TEACHERS: &str = "distill.teachers";
/// In front of a fingerprint of keys; older checkpoints have the SHA-256 of the recipe's text.
const BY_KEYS: &str = "keys:";

/// The recipe of a run, its text in the run folder, and what is to be said of it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) recipe: Recipe,
    /// The text that stands in the folder; of a run that begins, [`Stored::text`].
    pub(super) before: String,
    /// The text that is to stand there.
    pub(super) text: String,
    pub(super) notes: Vec<String>,
}

impl Stored {
    /// `recipe` for a run that begins.
    pub(super) fn new(recipe: Recipe) -> Result<Self> {
        let text = recipe.to_toml()?;
        Ok(Self { before: text.clone(), text, recipe, notes: Vec::new() })
    }

    /// `recipe` for a run in `folder` that goes on. Where the text there says the same in the words of an earlier version,
    /// that text counts; one without `[optimizer.groups]` had one learning rate for all kinds of parameter, and keeps it,
    /// unless `recipe` states others. Paths may lead elsewhere if what is `located` there has the same names and, by the
    /// fingerprints that the run stored, the same content.
    ///
    /// # Errors
    /// If it is another recipe: says which keys differ.
    pub(super) fn continued(recipe: Recipe, folder: &Path, located: Option<&Located>) -> Result<Self> {
        let path = folder.join(RECIPE);
        if !path.exists() {
            return Self::new(recipe);
        }
        let remedy =
            || format!("{}: restore the file, begin anew with --fresh, or choose another --out", path.display());
        let before = std::fs::read_to_string(&path).with_context(remedy)?;
        let then =
            Recipe::parse_resolved(&recipe.registries, &path.display().to_string(), &before).with_context(remedy)?;
        let free = free_paths(folder, located)?;
        // Epochs are compared by the steps that they come to, once the data is there.
        let (epochs, begun) = (recipe.train.clone(), then.train.steps);
        let mut recipe = if epochs.epochs.is_some() { recipe.with_steps(begun as f64)? } else { recipe };
        let mut differing = differences(&then, &recipe, &free)?;
        let mut notes = Vec::new();
        if differing.iter().any(|difference| difference.blocks) && recipe.has_default_groups()? {
            let one_rate = recipe.clone().with_one_rate();
            let others = differences(&then, &one_rate, &free)?;
            if !others.iter().any(|difference| difference.blocks) {
                notes.push("the run was begun with one learning rate for all kinds of parameter, and keeps it".into());
                (recipe, differing) = (one_rate, others);
            }
        }
        if differing.iter().any(|difference| difference.blocks) {
            let listed: String = differing.iter().map(|difference| format!("\n  {difference}")).collect();
            bail!(
                "{}: holds {} of another recipe, which differs in{listed}\nits own is {}; choose another --out, or begin \
                 anew with --fresh, which removes that run",
                folder.display(),
                stage(folder),
                path.display()
            );
        }
        notes.extend(differing.iter().map(ToString::to_string));
        let text = if differing.is_empty() { before.clone() } else { edited(&before, &differing)? };
        if epochs.epochs.is_some() {
            recipe.train.steps = 0;
            (recipe.train.epochs, recipe.train.epochs_of) = (epochs.epochs, epochs.epochs_of);
        }
        Ok(Self { recipe, before, text, notes })
    }

    /// The same, now that it is known which steps the recipe's epochs are: those of `paced`.
    ///
    /// # Errors
    /// If the run in `folder` was begun with another number of steps.
    pub(super) fn paced(self, paced: &Recipe, folder: &Path) -> Result<Self> {
        if self.recipe.train.epochs.is_none() {
            return Ok(self);
        }
        let begins = self.before == self.text && self.before == self.recipe.to_toml()?;
        if begins {
            return Ok(Self { recipe: paced.clone(), ..Self::new(paced.clone())? });
        }
        let then = Recipe::parse_resolved(&paced.registries, RECIPE, &self.before)?.train.steps;
        if then != paced.train.steps {
            bail!(
                "{}: train.epochs come to {} steps, and {} was begun with {then}; choose another --out, or begin anew with \
                 --fresh, which removes that run",
                folder.display(),
                paced.train.steps,
                stage(folder)
            );
        }
        Ok(Self { recipe: paced.clone(), ..self })
    }
}

/// How far the run in `folder` is.
fn stage(folder: &Path) -> String {
    if folder.join(REPORT).exists() {
        return "a finished run".into();
    }
    match resume::find(&folder.join("checkpoints"), LAST).and_then(|checkpoint| resume::steps_of(&checkpoint)) {
        Some(step) => format!("an unfinished run (after step {step})"),
        None => "a run (without a checkpoint yet)".into(),
    }
}

/// Those of [`PATHS`] that may differ: the run stored the fingerprints of what they lead to.
fn free_paths(folder: &Path, located: Option<&Located>) -> Result<BTreeSet<&'static str>> {
    let [tasks, checkpoint] = PATHS;
    let Some((stored, located)) = TrainedOn::read(folder)?.zip(located) else { return Ok(BTreeSet::new()) };
    let names = located.datasets.iter().map(|dataset| dataset.name.as_str());
    let free = [
        (tasks, stored.knows_data_of(names)),
        (checkpoint, stored.knows_encoder()),
        (TEACHERS, stored.knows_teachers()),
    ];
    Ok(free.into_iter().filter(|(_, free)| *free).map(|(key, _)| key).collect())
}

/// A key that two recipes give different values.
#[derive(Clone, Debug, PartialEq)]
struct Difference {
    key: String,
    then: Option<Value>,
    now: Option<Value>,
    /// Whether a run cannot go on over it.
    blocks: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<Value>| value.as_ref().map_or("left out".into(), ToString::to_string);
        write!(f, "{}: {} then, {} now", self.key, value(&self.then), value(&self.now))?;
        match (self.blocks, self.key.as_str()) {
            (false, _) => f.write_str(" (changes no result)"),
            // Nobody can train longer by what was scheduled for less.
            (true, "train.steps") => f.write_str(" (the schedule and the phases are laid out over all steps)"),
            (true, "train.log_gradients") => f.write_str(" (the gradients of logged steps are rounded otherwise)"),
            (true, _) => Ok(()),
        }
    }
}

fn differences(then: &Recipe, now: &Recipe, free: &BTreeSet<&str>) -> Result<Vec<Difference>> {
    let (then, now) = (keys(&then.to_toml()?)?, keys(&now.to_toml()?)?);
    let all: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differing = all.into_iter().filter(|key| then.get(*key) != now.get(*key));
    let difference = |key: &String| Difference {
        key: key.clone(),
        then: then.get(key).cloned(),
        now: now.get(key).cloned(),
        blocks: !FREE.contains(&key.as_str()) && !free.contains(of_paths(key)),
    };
    Ok(differing.map(difference).collect())
}

/// The key, or [`TEACHERS`] of a key below it.
fn of_paths(key: &str) -> &str {
    if key.strip_prefix(TEACHERS).is_some_and(|rest| rest.starts_with('.')) { TEACHERS } else { key }
}

/// The keys of the recipe `text` with their values, as `section.key`.
fn keys(text: &str) -> Result<BTreeMap<String, Value>> {
    fn add(table: Table, before: &str, keys: &mut BTreeMap<String, Value>) {
        for (key, value) in table {
            let key = format!("{before}{key}");
            match value {
                Value::Table(table) => add(table, &format!("{key}."), keys),
                value => drop(keys.insert(key, value)),
            }
        }
    }
    let mut keys = BTreeMap::new();
    add(text.parse()?, "", &mut keys);
    Ok(keys)
}

/// The recipe `text` with the values of now: whatever else it says, it says in the words of then.
fn edited(text: &str, differing: &[Difference]) -> Result<String> {
    let mut table: Table = text.parse()?;
    // What is left out goes first: a value may stand now where a section stood.
    let (kept, left_out): (Vec<&Difference>, Vec<&Difference>) = differing.iter().partition(|one| one.now.is_some());
    for Difference { key, now, .. } in left_out.into_iter().chain(kept) {
        let (section, key) = key.rsplit_once('.').unwrap_or(("", key));
        let mut within = &mut table;
        for name in section.split('.').filter(|name| !name.is_empty()) {
            let inner = within.entry(name).or_insert_with(|| Table::new().into()).as_table_mut();
            within = inner.with_context(|| format!("`{name}` is no section"))?;
        }
        match now {
            Some(value) => within.insert(key.into(), value.clone()),
            None => within.remove(key),
        };
    }
    Ok(toml::to_string(&table)?)
}

/// What of the recipe `text` decides a run's results, in digits: every key but those that may differ.
pub(crate) fn fingerprint(text: &str) -> Result<String> {
    let mut digest = Sha256::new();
    for (key, value) in keys(text)? {
        let leads = PATHS.contains(&key.as_str()) || of_paths(&key) == TEACHERS;
        if !FREE.contains(&key.as_str()) && !leads {
            digest.update(format!("{key} = {value}\n"));
        }
    }
    Ok(format!("{BY_KEYS}{}", hex(&digest.finalize())))
}

/// Whether `found`, the fingerprint in a checkpoint, is that of the recipe `text`.
pub(crate) fn is_of(found: &str, text: &str) -> Result<bool> {
    match is_by_keys(found) {
        true => Ok(found == fingerprint(text)?),
        false => Ok(found == hex(&Sha256::digest(text.as_bytes()))),
    }
}

/// Whether `found`, the fingerprint in a checkpoint, is one of keys, as those of today are.
pub(crate) fn is_by_keys(found: &str) -> bool {
    found.starts_with(BY_KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(overrides: &[&str]) -> Recipe {
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
        Recipe::parse(&Default::default(), "x", "tasks = [\"a\", \"b\"]\ncheckpoint = \"embedded\"\n", &overrides)
            .expect("a recipe")
            .0
    }

    /// What continues a run of `recipe(&["train.seed=3"])`.
    fn continued(now: &Recipe) -> Result<Stored> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(RECIPE), recipe(&["train.seed=3"]).to_toml()?)?;
        Stored::continued(now.clone(), folder.path(), None)
    }

    #[test]
    fn what_changes_no_result_may_differ_and_is_told() {
        let same = continued(&recipe(&["train.seed=3"])).expect("the same");
        assert_eq!((&same.text, same.notes.len()), (&same.before, 0));
        let now = recipe(&["train.seed=3", "train.threads=2", "train.save_every=7", "train.recompute=true"]);
        let free = continued(&now).expect("no result changes");
        assert_eq!(free.notes[2], "train.threads: 0 then, 2 now (changes no result)");
        assert_eq!(Recipe::parse_resolved(&now.registries, "x", &free.text).expect("a recipe"), now);
        assert_eq!(fingerprint(&free.text).expect("digits"), fingerprint(&free.before).expect("digits"));
    }

    #[test]
    fn what_changes_results_is_refused_with_all_that_differs() {
        let now = recipe(&["train.seed=4", "train.threads=2", "train.dropout=0.5", "train.steps=400"]);
        let error = format!("{:#}", continued(&now).expect_err("another recipe"));
        for part in [
            "of another recipe, which differs in\n",
            "\n  train.seed: 3 then, 4 now\n",
            "\n  train.threads: 0 then, 2 now (changes no result)\n",
            "\n  train.dropout: left out then, 0.5 now\n",
            "\n  train.steps: 300 then, 400 now (the schedule",
            RECIPE,
            "--out",
            "--fresh",
        ] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
        let moved = recipe(&["train.seed=3", "checkpoint=other"]);
        let error = format!("{:#}", continued(&moved).expect_err("nothing says that it is the same model"));
        assert!(error.contains("checkpoint: \"embedded\" then, \"other\" now"), "{error}");
        let digits = |set: &[&str]| fingerprint(&recipe(set).to_toml().expect("TOML")).expect("digits");
        assert_ne!(digits(&["train.seed=3"]), digits(&["train.seed=4"]));
    }
}
