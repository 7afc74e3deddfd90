//! Tasks and parameters in numbers.

use std::collections::BTreeMap;

use anyhow::Result;
use mtl_data::SplitAudit;
use mtl_sharing::Role;
use serde::Serialize;

use crate::assemble::Assembled;
use crate::recipe::Recipe;

/// A task in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskSizes {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Examples to train on.
    pub train: usize,
    /// Examples to choose by.
    pub dev: usize,
    /// Examples to report on.
    pub test: usize,
    /// Examples of it in a micro-batch, where that is not the recipe's number for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Shortest, median, 95th percentile and longest training text in tokens, before truncation.
    pub tokens: [usize; 4],
    /// Share of the training texts that are cut, in [0, 1].
    pub truncated: f64,
}

/// A model's parameters in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterSizes {
    /// All.
    pub total: usize,
    /// Those that training changes.
    pub trainable: usize,
    /// Those that training changes, by what they are for.
    pub by_role: BTreeMap<Role, usize>,
    /// Share of those that at least two tasks train, in [0, 1].
    pub shared: f64,
}

impl ParameterSizes {
    pub(super) fn of(assembled: &Assembled) -> Self {
        let model = &assembled.trainer.model;
        let accounting = model.accounting(assembled.pretrained.count());
        let mut by_role = BTreeMap::new();
        for param in model.params.iter().filter(|param| param.trainable()) {
            *by_role.entry(model.topology.role_of(param.name())).or_default() += param.layout().len();
        }
        Self { total: accounting.total, trainable: accounting.trainable, by_role, shared: accounting.shared_fraction }
    }
}

/// The tasks of `assembled`, which was built by `recipe`.
pub(super) fn tasks(recipe: &Recipe, assembled: &Assembled) -> Result<Vec<TaskSizes>> {
    let audit = mtl_data::audit(&assembled.datasets, &assembled.tokenizer, recipe.train.max_tokens)?;
    let sizes = audit.tasks.into_iter().map(|task| {
        let split = |name: &str| task.splits.iter().find(|(known, _)| known == name).map(|(_, split)| split);
        let examples = |name: &str| split(name).map_or(0, |split: &SplitAudit| split.examples);
        let train = split("train");
        TaskSizes {
            train: examples("train"),
            dev: examples("dev"),
            test: examples("test"),
            batch: recipe.task(&task.name).batch,
            tokens: train.map_or([0; 4], |train| train.tokens),
            truncated: train.map_or(0., |train| train.truncated as f64 / train.examples.max(1) as f64),
            name: task.name,
            kind: task.kind,
        }
    });
    Ok(sizes.collect())
}
