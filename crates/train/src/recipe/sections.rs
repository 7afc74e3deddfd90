//! Sections of a recipe whose keys are no member's, for whoever explains them.

use serde::Serialize;
use serde_json::Value;

use super::{Distill, Evaluation, TaskSettings, Train};
use crate::control::Control;

/// A section of a recipe that belongs to no member of a registry.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// How a recipe writes it.
    pub written: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// Its keys with their defaults, an object; a key without one is null.
    pub defaults: fn() -> Value,
    /// The source of its type, whose header and comments say more.
    pub source: &'static str,
}

/// All of them.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "control",
        written: "[control]",
        about: "what is controlled for: permuted or random labels, varied text",
        defaults: || keys::<Control>(&[]),
        source: include_str!("../control.rs"),
    },
    Section {
        name: "distill",
        written: "[distill]",
        about: "teachers: finished runs whose answers are learnt beside the labels",
        defaults: || keys::<Distill>(&[]),
        source: include_str!("distill.rs"),
    },
    Section {
        name: "evaluation",
        written: "[evaluation]",
        about: "what is measured, when, and which weights are kept",
        defaults: || keys::<Evaluation>(&["limit"]),
        source: include_str!("evaluation.rs"),
    },
    Section {
        name: "task",
        written: "[[task]] or [task.NAME]",
        about: "settings that one task has to itself: limits, batch, learning rate, loss weight, patience, head, metric",
        defaults: || keys::<TaskSettings>(super::tasks::KEYS),
        source: include_str!("tasks.rs"),
    },
    Section {
        name: "train",
        written: "[train]",
        about: "how long a training is, what a step sees, and in which arithmetic",
        defaults: || keys::<Train>(&["data_seed", "divergence", "divergence_steps", "dropout", "epochs", "epochs_of"]),
        source: include_str!("train.rs"),
    },
];

/// The defaults of a section, and its keys that have none.
fn keys<T: Default + Serialize>(without: &[&str]) -> Value {
    let mut object = serde_json::to_value(T::default()).unwrap_or_default();
    without.iter().for_each(|key| super::document::set(&mut object, key, Value::Null));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_section_is_explained() {
        for section in SECTIONS {
            let defaults = (section.defaults)();
            let page = mtl_task::page(section.source, &defaults);
            for key in defaults.as_object().expect("an object").keys() {
                let at = page.lines().position(|line| line.split([' ', ',']).next() == Some(key)).expect(key);
                assert!(page.lines().nth(at + 1).is_some_and(|about| about.starts_with("    ")), "{key}: {page}");
            }
        }
    }
}
