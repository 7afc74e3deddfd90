//! The recipe: one TOML file that says what is trained, on what, and how.

mod bounds;
mod check;
mod distill;
mod document;
mod epochs;
mod evaluation;
mod groups;
mod names;
mod overrides;
mod sections;
mod tasks;
mod train;
mod typed;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use mtl_data::LoadOptions;
use mtl_sharing::{HeadSettings, Role};
use mtl_weighting::Private;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use distill::{Distill, Teachers};
pub use evaluation::{Evaluation, Keep, Test};
pub use groups::Group;
pub use names::{divided, task_name};
pub use overrides::Dropped;
pub use sections::{SECTIONS, Section};
pub use tasks::TaskSettings;
pub use train::{EncoderPath, Precision, StepKind, Train};

use crate::control::Control;
use crate::registries::Registries;

/// A member of a registry and its settings, such as `strategy = "hard"` with its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The member's name.
    pub name: String,
    /// Its settings, an object with every default written out.
    pub settings: Value,
}

/// A checked recipe: every key is known, every default written out.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// What its names mean.
    pub registries: Arc<Registries>,
    /// Dataset names, or paths of dataset manifests.
    pub tasks: Vec<String>,
    /// The settings that tasks have to themselves, by what a task is called in reports; of tasks that have any.
    pub task_settings: BTreeMap<String, TaskSettings>,
    /// A model name, or the path of a model manifest.
    pub checkpoint: String,
    /// How tasks share the encoder.
    pub sharing: Member,
    /// What every task's head is.
    pub head: HeadSettings,
    /// How task gradients become one.
    pub weighting: Member,
    /// How tasks' own parameters are updated.
    pub private: Private,
    /// Which shared parameters the rule looks at.
    pub over: DecisionScope,
    /// The loop.
    pub train: Train,
    /// How a step's examples are divided over the tasks.
    pub sampler: Member,
    /// What makes a step of a gradient.
    pub optimizer: Member,
    /// `[optimizer.groups]`: learning rate and weight decay by kind of parameter, for every kind that the strategy can
    /// have.
    pub groups: BTreeMap<Role, Group>,
    /// `[optimizer] task_rates`: the base rate, in place of `rate`, of the parameters that a task alone reaches; by
    /// task.
    pub task_rates: BTreeMap<String, f64>,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Whose answers are learnt beside the labels; none without a `[distill]` section.
    pub distill: Option<Distill>,
    /// What is measured, and when.
    pub evaluation: Evaluation,
    /// What is controlled for.
    pub control: Control,
}

/// `[weighting] over`: which shared parameters a rule looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DecisionScope {
    /// A word, see [`ScopeName`].
    Name(ScopeName),
    /// One decision by these parts alone (such as `layer.5`), applied to all.
    Parts(Vec<String>),
}

/// See [`DecisionScope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopeName {
    /// One decision of all tasks over all shared parameters.
    All,
    /// One decision for each part, of the tasks that train it.
    Layerwise,
    /// One decision for each set of tasks that shares parameters, over these: what is not said means this.
    Owners,
}

/// `[schedule]`: the learning rate over time, by the names that Hugging Face uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// A member of the schedule registry.
    pub name: String,
    /// Steps of linear warm-up; takes the place of `warmup_ratio` if not 0.
    pub warmup_steps: usize,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { name: "linear".into(), warmup_steps: 0, warmup_ratio: 0.1 }
    }
}

impl Recipe {
    /// Reads the recipe `text`, called `name` in messages, by the members of `registries`, with `overrides` of the form `section.key=value` applied.
    ///
    /// # Errors
    /// If it is no TOML, has an unknown key (named with line, column and the nearest known), a value of the wrong
    /// type, or asks for something that cannot be (with reason and remedy).
    pub fn parse(
        registries: &Arc<Registries>,
        name: &str,
        text: &str,
        overrides: &[String],
    ) -> Result<(Self, Vec<Dropped>)> {
        let mut document = document::Document::parse(name, text)?;
        tasks::settle(&mut document, false)?;
        let dropped = overrides::apply(&mut document, overrides)?;
        let recipe = check::recipe(&document, registries)?;
        Ok((recipe, dropped))
    }

    /// How much is loaded of the dataset of the task called `name`.
    pub fn load_options_of(&self, name: &str) -> LoadOptions {
        let (all, task) = (self.load_options(), self.task(name));
        LoadOptions {
            limit_train: task.limit.unwrap_or(all.limit_train),
            limit_dev: task.dev_limit.unwrap_or(all.limit_dev),
            limit_test: task.test_limit.unwrap_or(all.limit_test),
            ..all
        }
    }

    /// How much is loaded of the datasets of tasks that say nothing else.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            max_tokens: self.train.max_tokens,
            limit_train: self.train.limit,
            limit_dev: self.evaluation.dev_limit(),
            limit_test: self.evaluation.test_limit(),
            seed: self.train.data_seed(),
            train_seed: self.train.sample_seed,
            dev_seed: self.train.dev_seed,
            stratified: self.train.stratified == Some(true),
            dev_as_train: self.evaluation.dev_as_train == Some(true),
            overlap: self.evaluation.overlap,
        }
    }

    /// Whether each task keeps a snapshot of its own: its best weights are to be reported, and it shares some.
    ///
    /// # Errors
    /// Never for a checked recipe.
    pub(crate) fn keeps_snapshots(&self) -> Result<bool> {
        let strategy = self.registries.strategies.find(&self.sharing.name)?;
        let each = self.evaluation.keep == Keep::Each && self.tasks.len() > 1;
        Ok(each && (strategy.shares_with)(&self.sharing.settings)?)
    }

    /// Reads `recipe.toml` of a run folder, called `name` in messages. One that was written before there were groups of
    /// parameters has none, and one learning rate for all.
    ///
    /// # Errors
    /// As of [`Recipe::parse`].
    pub fn parse_resolved(registries: &Arc<Registries>, name: &str, text: &str) -> Result<Self> {
        let mut document = document::Document::parse(name, text)?;
        tasks::settle(&mut document, false)?;
        let recipe = check::recipe(&document, registries)?;
        let grouped = document.value.pointer("/optimizer/groups").is_some();
        Ok(if grouped { recipe } else { recipe.with_one_rate() })
    }

    /// The learning rate before the schedule; 0, which must be written out, trains nothing.
    ///
    /// # Errors
    /// If the optimizer's settings have none.
    pub(crate) fn base_rate(&self) -> Result<f64> {
        crate::optim::rate(&self.optimizer.name, &self.optimizer.settings)
    }

    /// The recipe as TOML with every default written out; parsing it gives the same recipe.
    ///
    /// # Errors
    /// Never for a checked recipe.
    pub fn to_toml(&self) -> Result<String> {
        let mut table = BTreeMap::new();
        let member = |key: &str, member: &Member| -> Value {
            let mut object = member.settings.clone();
            document::set(&mut object, key, member.name.clone().into());
            object
        };
        let mut weighting = member("rule", &self.weighting);
        document::set(&mut weighting, "private", serde_json::to_value(self.private)?);
        document::set(&mut weighting, "over", serde_json::to_value(&self.over)?);
        table.insert("tasks", serde_json::to_value(&self.tasks)?);
        if !self.task_settings.is_empty() {
            table.insert("task", serde_json::to_value(&self.task_settings)?);
        }
        table.insert("checkpoint", self.checkpoint.clone().into());
        table.insert("sharing", member("strategy", &self.sharing));
        table.insert("head", serde_json::to_value(&self.head)?);
        table.insert("weighting", weighting);
        table.insert("train", serde_json::to_value(&self.train)?);
        table.insert("sampler", member("name", &self.sampler));
        let mut optimizer = member("name", &self.optimizer);
        document::set(&mut optimizer, "groups", serde_json::to_value(&self.groups)?);
        if !self.task_rates.is_empty() {
            document::set(&mut optimizer, "task_rates", serde_json::to_value(&self.task_rates)?);
        }
        table.insert("optimizer", optimizer);
        table.insert("schedule", serde_json::to_value(&self.schedule)?);
        if let Some(distill) = &self.distill {
            table.insert("distill", serde_json::to_value(distill)?);
        }
        table.insert("evaluation", serde_json::to_value(&self.evaluation)?);
        table.insert("control", serde_json::to_value(&self.control)?);
        let (tables, plain): (BTreeMap<_, _>, BTreeMap<_, _>) = table.into_iter().partition(|(_, v)| v.is_object());
        let text = |part: BTreeMap<&str, Value>| -> Result<String> {
            let value = document::to_toml(&serde_json::to_value(part)?).context("an empty recipe")?;
            Ok(toml::to_string(&value)?)
        };
        Ok(format!("{}\n{}", text(plain)?, text(tables)?))
    }
}
