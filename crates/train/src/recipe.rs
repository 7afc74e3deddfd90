//! The recipe: one TOML file that says what is trained, on what, and how.

mod bounds;
mod check;
mod document;
mod groups;
mod overrides;
mod train;
mod typed;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use mtl_data::{LoadOptions, OverlapPolicy};
use mtl_sharing::{HeadSettings, Role};
use mtl_weighting::Private;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use groups::Group;
pub use overrides::Dropped;
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

/// `[evaluation]`: what is measured, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// Steps between two looks at dev; 0 for one look, at the end.
    pub every: usize,
    /// Looks at dev without a better aggregate before training stops; 0 to go on.
    pub patience: usize,
    /// `open`: the test split is opened once, at the end. `sealed`: not at all.
    pub test: Test,
    /// Dev examples a task, drawn by seed; 0 for all.
    pub dev_limit: usize,
    /// Whether a task has at most as many dev examples as it has to train on, as someone who has few would; left out,
    /// false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_as_train: Option<bool>,
    /// Test examples a task, drawn by seed; 0 for all.
    pub test_limit: usize,
    /// Overrides both limits if given; 0 uses everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Examples in a batch that only answers.
    pub batch: usize,
    /// Whether the test is taken by the best weights on dev, or by the last ones.
    pub keep: Keep,
    /// Whether every look at dev scores as many training examples too.
    pub train_curve: bool,
    /// Whether the weights of every look are kept, as checkpoint `step-N`.
    pub keep_evaluations: bool,
    /// Training rows whose text stands in a dev or test split, of the same task or of another, as sources split them:
    /// `drop` leaves them out, `allow` trains on them. Splits that are drawn have none.
    pub overlap: OverlapPolicy,
}

/// Whether the test split is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Test {
    /// Once, at the end.
    Open,
    /// Not at all.
    Sealed,
}

/// Which weights are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those with the best mean headline score on dev.
    Best,
    /// Each task's own with the best headline score of that task; for strategies that share nothing.
    Each,
    /// The last ones.
    Last,
}

impl Keep {
    /// Names of the checkpoints that hold those weights, the first one that is there.
    pub(crate) fn checkpoints(self) -> &'static [&'static str] {
        match self {
            Self::Best => &["best", "last"],
            Self::Each => &["each", "best", "last"],
            Self::Last => &["last"],
        }
    }
}

impl Default for Evaluation {
    fn default() -> Self {
        Self {
            every: 100,
            patience: 0,
            test: Test::Open,
            dev_limit: 500,
            dev_as_train: None,
            test_limit: 1000,
            limit: None,
            batch: 64,
            keep: Keep::Best,
            train_curve: false,
            keep_evaluations: false,
            overlap: OverlapPolicy::Drop,
        }
    }
}

impl Evaluation {
    /// Dev examples a task; 0 for all.
    pub fn dev_limit(&self) -> usize {
        self.limit.unwrap_or(self.dev_limit)
    }

    /// Test examples a task; 0 for all.
    pub fn test_limit(&self) -> usize {
        self.limit.unwrap_or(self.test_limit)
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
        let dropped = overrides::apply(&mut document, overrides)?;
        let recipe = check::recipe(&document, registries)?;
        Ok((recipe, dropped))
    }

    /// How much of its datasets is loaded.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions {
            max_tokens: self.train.max_tokens,
            limit_train: self.train.limit,
            limit_dev: self.evaluation.dev_limit(),
            limit_test: self.evaluation.test_limit(),
            seed: self.train.data_seed(),
            train_seed: self.train.sample_seed,
            stratified: self.train.stratified == Some(true),
            dev_as_train: self.evaluation.dev_as_train == Some(true),
            overlap: self.evaluation.overlap,
        }
    }

    /// Reads `recipe.toml` of a run folder, called `name` in messages. One that was written before there were groups of
    /// parameters has none, and one learning rate for all.
    ///
    /// # Errors
    /// As of [`Recipe::parse`].
    pub fn parse_resolved(registries: &Arc<Registries>, name: &str, text: &str) -> Result<Self> {
        let document = document::Document::parse(name, text)?;
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
