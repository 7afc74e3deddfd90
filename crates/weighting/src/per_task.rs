//! A setting with a value for every task.

use serde::{Deserialize, Serialize};

/// One number for every task, or a list with one a task, in the recipe's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerTask {
    /// The same for every task.
    Same(f64),
    /// One a task.
    Each(Vec<f64>),
}

impl PerTask {
    /// The values of all `tasks` tasks; `key` is what the setting is called.
    ///
    /// # Errors
    /// If there is not one number a task, or one is not finite.
    pub(crate) fn of_all(&self, key: &str, tasks: usize) -> Result<Vec<f64>, String> {
        let values = match self {
            Self::Same(value) => vec![*value; tasks],
            Self::Each(values) => values.clone(),
        };
        if values.len() != tasks {
            return Err(format!("{key} has {} values for {tasks} tasks: give one number, or one a task", values.len()));
        }
        finite(key, values)
    }

    /// The values of the tasks of these indices.
    ///
    /// # Errors
    /// If a task has none, or one is not finite.
    pub(crate) fn of_some(&self, key: &str, tasks: &[usize]) -> Result<Vec<f64>, String> {
        let value = |task: &usize| match self {
            Self::Same(value) => Ok(*value),
            Self::Each(values) => values
                .get(*task)
                .copied()
                .ok_or_else(|| format!("{key} has {} values, but none for task {task}: give one a task", values.len())),
        };
        finite(key, tasks.iter().map(value).collect::<Result<_, _>>()?)
    }
}

fn finite(key: &str, values: Vec<f64>) -> Result<Vec<f64>, String> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(task) => Err(format!("{key} of task {task} is {}: it must be a finite number", values[task])),
        None => Ok(values),
    }
}
