//! `[distill]`: teachers whose answers are learnt beside the labels.
//!
//! L = λ·L(y, student) + (1 − λ)·L(teacher, student), with λ from 0 to 1 over the steps of the run (teacher annealing), so
//! that a student learns from its teacher first and from the labels alone at the end. What a task's teacher says of its
//! training examples is worked out once, before training.
//!
//! Clark, Luong, Khandelwal, Manning and Le, "BAM! Born-again multi-task networks for natural language understanding" (ACL
//! 2019).

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::document::Document;

/// The `[distill]` section; a recipe without one has no teachers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Distill {
    /// Run folders with the teachers: one for all tasks (a run that has them, or a folder with a run for each task, by its
    /// name), or by task, `{ TASK = "runs/teacher" }`, the other tasks being trained by their labels alone.
    pub teachers: Teachers,
    /// Whether λ, the weight of the labels, goes from 0 to 1 over the run.
    pub annealing: bool,
    /// λ where it does not, in [0, 1).
    pub label_weight: f64,
    /// What teachers' and students' logits are divided by, for classes, tags and sets of labels.
    pub temperature: f64,
}

/// See [`Distill::teachers`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a run folder, or a table of run folders by task")]
pub enum Teachers {
    /// One folder for all tasks.
    All(String),
    /// By task.
    Tasks(BTreeMap<String, String>),
}

/// What a teacher's name begins with that is an arm of an experiment.
const ARM: &str = "arm:";

impl Default for Distill {
    fn default() -> Self {
        Self { teachers: Teachers::Tasks(BTreeMap::new()), annealing: true, label_weight: 0.5, temperature: 1. }
    }
}

impl Teachers {
    /// The arm of an experiment that a teacher's name means, if it does.
    pub fn arm_of(name: &str) -> Option<&str> {
        name.strip_prefix(ARM)
    }

    /// The folders, each once.
    pub fn folders(&self) -> Vec<&str> {
        match self {
            Self::All(folder) => vec![folder],
            Self::Tasks(folders) => {
                let mut found: Vec<&str> = folders.values().map(String::as_str).collect();
                found.sort_unstable();
                found.dedup();
                found
            }
        }
    }

    /// The arms of an experiment among them, each once.
    pub fn arms(&self) -> Vec<&str> {
        self.folders().into_iter().filter_map(Self::arm_of).collect()
    }

    /// The same with the folders of `place` for arms of an experiment.
    ///
    /// # Errors
    /// Those of `place`.
    pub fn with_arms(&self, place: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let placed = |name: &String| Self::arm_of(name).map_or_else(|| Ok(name.clone()), &place);
        Ok(match self {
            Self::All(folder) => Self::All(placed(folder)?),
            Self::Tasks(folders) => Self::Tasks(
                folders.iter().map(|(task, folder)| Ok((task.clone(), placed(folder)?))).collect::<Result<_>>()?,
            ),
        })
    }

    /// The same with `change` made to every folder; arms of experiments stay as they are.
    pub fn with_folders(&self, change: impl Fn(&str) -> String) -> Self {
        let change = |name: &String| if Self::arm_of(name).is_some() { name.clone() } else { change(name) };
        match self {
            Self::All(folder) => Self::All(change(folder)),
            Self::Tasks(folders) => {
                Self::Tasks(folders.iter().map(|(task, folder)| (task.clone(), change(folder))).collect())
            }
        }
    }
}

impl Distill {
    /// The weight of the labels in step `step` of `of`.
    pub(crate) fn label_weight_at(&self, step: usize, of: usize) -> f64 {
        if self.annealing { (step as f64 / of.max(1) as f64).min(1.) } else { self.label_weight }
    }
}

/// Refuses settings out of range, and teachers of no task.
pub(super) fn check(document: &Document, distill: &Distill, tasks: &[String]) -> Result<()> {
    let at = |key: &str| document.place(&["distill", key]);
    if !(distill.temperature > 0. && distill.temperature.is_finite()) {
        bail!("{}: `temperature` must be above 0, found {}", at("temperature"), distill.temperature);
    }
    if !(0. ..1.).contains(&distill.label_weight) {
        let found = distill.label_weight;
        bail!("{}: `label_weight` must lie in [0, 1), found {found}; 1 is no distillation", at("label_weight"));
    }
    if let Teachers::Tasks(folders) = &distill.teachers {
        if folders.is_empty() {
            bail!("{}: no teacher; write teachers = {{ {} = \"RUN FOLDER\" }}", at("teachers"), tasks.join(" = …, "));
        }
        if let Some(task) = folders.keys().find(|task| !tasks.contains(task)) {
            let nearest = mtl_task::nearest(task, tasks.iter().map(String::as_str));
            bail!("{}: no task `{task}`{nearest}; there are {}", at("teachers"), tasks.join(", "));
        }
    }
    if distill.teachers.folders().iter().any(|folder| folder.is_empty()) {
        bail!("{}: a teacher is a run folder, found an empty name", at("teachers"));
    }
    Ok(())
}
