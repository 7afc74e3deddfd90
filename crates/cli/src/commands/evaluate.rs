//! `evaluate`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use mtl_compare::{Library, paths};
use mtl_data::{LoadOptions, TestKey};
use mtl_eval::Judged;
use mtl_task::Label;
use mtl_train::Trained;
use serde_json::{Map, Value, json};

use super::predict::{asked, said};
use crate::device::{OnDevice, set_threads};
use crate::local::DataFolders;
use crate::locate::Files;
use crate::output::line;
use crate::sink::Sink;

/// Score a run's model again, on dev or on test, by every metric of its tasks.
#[derive(Debug, Args)]
pub struct Evaluate {
    /// The run folder
    run: PathBuf,
    /// Which split
    #[arg(long, value_enum, default_value_t = Split::Dev)]
    split: Split,
    /// Examples a task; 0 for all [default: the recipe's]
    #[arg(long)]
    limit: Option<usize>,
    /// Write every example with its truth and its answer to this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    #[command(flatten)]
    folders: DataFolders,
    #[command(flatten)]
    on: OnDevice,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Dev,
    Test,
}

impl Evaluate {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        set_threads(0)?;
        let trained = Trained::open(&context.registries, &self.run, &self.on.open()?)?;
        let recipe = &trained.recipe;
        let files = Files::new(&context.registries, self.offline)?.with_data(&self.folders.data)?;
        let anchored = paths::anchored_recipe(recipe, &self.run);
        files.check_data(&anchored.tasks)?;
        let located = files.locate(&anchored)?;
        let options = |name: &str| {
            let own = recipe.load_options_of(name);
            LoadOptions {
                limit_dev: self.limit.unwrap_or(own.limit_dev),
                limit_test: self.limit.unwrap_or(own.limit_test),
                dev_as_train: own.dev_as_train && self.limit.is_none(),
                ..own
            }
        };
        let mut sink = self.answers.as_deref().map(|file| Sink::open(Some(file))).transpose()?;
        let mut scores: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for loaded in &trained.datasets(&located, options)? {
            let (id, task) = trained.task(&loaded.name)?;
            let split = match self.split {
                Split::Train => &loaded.train,
                Split::Dev => &loaded.dev,
                Split::Test => loaded.test.open(&TestKey::final_evaluation()),
            };
            let examples = &split.examples;
            let answers = trained.answer_examples(id, examples)?;
            let truth: Vec<Label> = examples.iter().map(|example| example.label.clone()).collect();
            if let Some(sink) = &mut sink {
                for (example, answer) in examples.iter().zip(&answers) {
                    let Some(texts) = split.texts.get(example.row) else { continue };
                    let known = [("task", json!(loaded.name)), ("truth", task.render(&example.label))];
                    let known = known.map(|(key, value)| (key.to_string(), value));
                    let line: Map<String, Value> =
                        known.into_iter().chain(asked(texts)).chain(said(task, answer)).collect();
                    sink.line(&Value::Object(line).to_string())?;
                }
            }
            let judged = Judged { answers: &answers, truth: &truth, names: task.names() };
            let metrics = task.metrics();
            scores.insert(
                loaded.name.clone(),
                mtl_eval::scores(&recipe.registries.metrics, &metrics, judged)
                    .with_context(|| format!("dataset `{}`", loaded.name))?,
            );
        }
        if let Some(sink) = sink {
            sink.finish()?;
        }
        if self.json {
            line(&serde_json::to_string_pretty(&scores)?)?;
        } else {
            for (task, metrics) in &scores {
                let shown: Vec<String> = metrics.iter().map(|(name, score)| format!("{name} {score:.4}")).collect();
                line(&format!("{task}: {}", shown.join(", ")))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
