//! The frozen plan: `plan.jsonl`, one run a line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_eval::comparison::RunRecord;
use mtl_train::{Recipe, write_atomically};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::header::Header;
use crate::paths::written_recipe;
use crate::{Arm, integrity};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To choose hyper-parameters on dev; its test splits stay sealed.
    Tune,
    /// To be compared.
    Final,
}

/// One run of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// A hash of recipe, arm and purpose.
    pub id: String,
    /// The stage it belongs to.
    pub stage: usize,
    /// The arm.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Which of the seed's trainings it is, counted from 0.
    #[serde(default, skip_serializing_if = "is_0")]
    pub restart: usize,
    /// What it is for.
    pub purpose: Purpose,
    /// Hyper-parameters tried or chosen, by key of the recipe.
    pub tuned: BTreeMap<String, String>,
    /// Steps of training.
    pub steps: usize,
    /// Whether its checkpoints stay on disk.
    pub keep: bool,
    /// The resolved recipe, TOML.
    pub recipe: String,
}

fn is_0(restart: &usize) -> bool {
    *restart == 0
}

impl Planned {
    /// A run of `arm`, whose recipe is not known yet.
    pub(super) fn of(arm: &Arm, purpose: Purpose, seed: u64) -> Self {
        Self {
            id: String::new(),
            stage: 0,
            arm: arm.spec.name.clone(),
            seed,
            restart: 0,
            purpose,
            tuned: BTreeMap::new(),
            steps: 0,
            keep: false,
            recipe: String::new(),
        }
    }

    /// The same as a line of `plan`, with `recipe`, whose paths are written as those of the run's folder.
    pub(super) fn with(self, plan: &Plan, recipe: &Recipe) -> Result<Self> {
        // Every run's folder lies as deep.
        let text = written_recipe(recipe, &plan.out.join("runs/run")).to_toml()?;
        let purpose_name = serde_json::to_string(&self.purpose)?;
        let digest = Sha256::digest(format!("{}\n{purpose_name}\n{text}", self.arm).as_bytes());
        let id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, steps: recipe.train.steps, recipe: text, ..self })
    }
}

/// The plan in an experiment's folder, and what has become of its runs.
#[derive(Clone, Debug)]
pub struct Plan {
    out: PathBuf,
    lines: Vec<Planned>,
    /// What was planned with; none of plans of before there were any.
    pub(super) header: Option<Header>,
}

/// Why a run broke.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Broken {
    reason: String,
}

impl Plan {
    /// The plan in `out`; an empty one if there is none yet.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(out: &Path) -> Result<Self> {
        let path = out.join("plan.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let read = |(at, line): (usize, &str)| {
            serde_json::from_str(line).with_context(|| format!("{}:{}: no line of a plan", path.display(), at + 1))
        };
        let lines = text.lines().enumerate().map(read).collect::<Result<_>>()?;
        Ok(Self { out: out.to_path_buf(), lines, header: Header::read(out)? })
    }

    /// Writes down what the plan is made with, `now`, where nothing says so yet. While test is sealed the experiment's own
    /// settings may change, and while nothing has run its data; a plan of before has no such file and gets none.
    ///
    /// # Errors
    /// If the disk refuses, or a record cannot be read.
    pub(super) fn settle(&mut self, now: &Header) -> Result<()> {
        if self.is_of_before() {
            return Ok(());
        }
        let mut header = self.header.clone().unwrap_or_else(|| now.clone());
        if !integrity::is_test_open(self)? {
            header.settings.clone_from(&now.settings);
        }
        if !self.lines.iter().any(|line| self.is_done(line)) {
            header.data.clone_from(&now.data);
        }
        for (name, digits) in &now.data {
            header.data.entry(name.clone()).or_insert_with(|| digits.clone());
        }
        if self.header.as_ref() != Some(&header) {
            header.write(&self.out)?;
        }
        self.header = Some(header);
        Ok(())
    }

    /// Refuses data files that are not those of the plan.
    ///
    /// # Errors
    /// Names them.
    pub(super) fn refuse_changed(&self, now: &Header) -> Result<()> {
        let changed = self.header.as_ref().map(|header| header.changed_data(&now.data)).unwrap_or_default();
        if changed.is_empty() {
            return Ok(());
        }
        bail!(
            "{}: not the data that was planned with: {}; restore what was changed, or choose another --out",
            self.out.display(),
            changed.join(", ")
        )
    }

    /// The lines of `stage`, written down before any of them runs. If they are there already they must be `lines`.
    ///
    /// # Errors
    /// If they are not: the experiment was changed, or the folder is another one's.
    pub(super) fn freeze(&mut self, stage: usize, lines: Vec<Planned>) -> Result<Vec<Planned>> {
        let frozen: Vec<&Planned> = self.lines.iter().filter(|line| line.stage == stage).collect();
        if frozen.is_empty() {
            self.lines.extend(lines.iter().cloned());
            let mut text = String::new();
            for line in &self.lines {
                text += &format!("{}\n", serde_json::to_string(line)?);
            }
            write_atomically(&self.out.join("plan.jsonl"), text.as_bytes())?;
        } else if frozen.len() != lines.len() || frozen.iter().zip(&lines).any(|(frozen, line)| *frozen != line) {
            let differs = frozen.iter().zip(&lines).find(|(frozen, line)| **frozen != *line);
            let which = differs.map_or(String::new(), |(frozen, line)| {
                format!(
                    ", first in run {} (arm `{}`, seed {}), which would be {}",
                    frozen.id, frozen.arm, frozen.seed, line.id
                )
            });
            bail!(
                "{}: the plan frozen there has {} runs in stage {stage}, this experiment asks for {}{which}; put the \
                 experiment back as it was, or choose another --out",
                self.out.join("plan.jsonl").display(),
                frozen.len(),
                lines.len()
            );
        }
        Ok(lines)
    }

    /// Every line so far.
    pub fn lines(&self) -> &[Planned] {
        &self.lines
    }

    pub(super) fn find(&self, id: &str) -> Result<&Planned> {
        let known = self.lines.iter().find(|line| line.id == id);
        known.with_context(|| format!("{}: no run `{id}`", self.out.join("plan.jsonl").display()))
    }

    /// Whether it was begun by a program that wrote no header.
    pub(super) fn is_of_before(&self) -> bool {
        self.header.is_none() && !self.lines.is_empty()
    }

    /// The folder of a run.
    pub fn folder(&self, line: &Planned) -> PathBuf {
        self.out.join("runs").join(&line.id)
    }

    /// Whether a run finished or broke.
    pub fn is_done(&self, line: &Planned) -> bool {
        self.folder(line).join("record.json").exists() || self.broken(line).is_some()
    }

    /// Why a run broke, if it did.
    pub fn broken(&self, line: &Planned) -> Option<String> {
        let text = std::fs::read_to_string(self.folder(line).join("broken.json")).ok()?;
        Some(serde_json::from_str::<Broken>(&text).map_or(text, |broken| broken.reason))
    }

    /// Writes down why a run broke.
    pub(super) fn mark_broken(&self, line: &Planned, reason: String) -> Result<()> {
        let text = serde_json::to_vec_pretty(&Broken { reason })?;
        write_atomically(&self.folder(line).join("broken.json"), &text)
    }

    /// What a finished run left; none if it broke or has not finished.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub fn record(&self, line: &Planned) -> Result<Option<RunRecord>> {
        let path = self.folder(line).join("record.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let record = serde_json::from_slice(&text);
        record.map(Some).with_context(|| format!("{}: no record; remove it to run again", path.display()))
    }
}
