//! `export-onnx`.

mod model;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use mtl_onnx::MOST_INLINE;
use mtl_task::{Label, Reads, TaskId, TaskSpec};
use mtl_train::{Trained, write_atomically};
use serde_json::{Value, json};

use crate::device::set_threads;
use crate::folder::NewFolder;
use crate::output;

/// Write a run's encoder and heads as ONNX
///
/// The folder gets `model.onnx`, with an output for every task, named after it; `tokenizer.json`; and `tasks.json`, which
/// says what the outputs mean. Tasks that see different weights are in different files, each named after its first task.
/// Outputs are what `{program} predict --json` prints: probabilities, or values in the unit of the data.
#[derive(Debug, Args)]
pub struct ExportOnnx {
    /// The run folder
    run: PathBuf,
    /// The folder to make
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// A task to export; may be repeated [default: all]
    #[arg(long = "task", value_name = "TASK")]
    tasks: Vec<String>,
    /// Give logits instead of probabilities
    #[arg(long)]
    logits: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A task that is exported.
struct Exported<'a> {
    id: TaskId,
    name: &'a str,
    spec: &'a TaskSpec,
    /// What truths of its kind look like.
    truth: Label,
    reads: Reads,
}

impl ExportOnnx {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        let new = NewFolder::beside(&self.to)?;
        set_threads(0)?;
        let trained = Trained::open(&context.registries, &self.run, &candle_core::Device::Cpu)?;
        let tasks = self.asked(&trained)?;
        let groups = model::groups(&trained, &tasks)?;
        let mut said = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let file = match groups.len() {
                1 => "model.onnx".to_string(),
                _ => file_name(index, group.tasks.first().map_or("", |task| task.name)),
            };
            let stated: Vec<Value> = group.tasks.iter().map(|task| self.stated(&trained, task, &file)).collect();
            let facts =
                [("mtl.tasks", json!(stated).to_string()), ("mtl.max_tokens", json!(max_tokens(&trained)).to_string())];
            let data = format!("{file}.data");
            let files = model::graph(&trained, group, self.logits)?.files(&facts, &data, MOST_INLINE)?;
            write_atomically(&new.path().join(&file), &files.model)?;
            if let Some(bytes) = &files.data {
                write_atomically(&new.path().join(&data), bytes)?;
            }
            said.extend(stated);
        }
        write_atomically(&new.path().join("tokenizer.json"), trained.tokenizer.to_json()?.as_bytes())?;
        let page = json!({ "max_tokens": max_tokens(&trained), "tasks": said });
        write_atomically(&new.path().join("tasks.json"), &serde_json::to_vec_pretty(&page)?)?;
        new.keep()?;
        if trained.recipe.train.precision == mtl_train::Precision::Bf16 {
            output::note(
                "the run computes products in bfloat16, the graph in single precision: outputs differ in the third digit",
            );
        }
        self.tell(&page)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The tasks that are asked for, in the run's order.
    fn asked<'a>(&self, trained: &'a Trained) -> Result<Vec<Exported<'a>>> {
        for name in &self.tasks {
            trained.task(name)?;
        }
        let wanted = |name: &String| self.tasks.is_empty() || self.tasks.contains(name);
        let kinds = &trained.recipe.registries.data.kinds;
        let exported = |(name, spec): &'a (String, TaskSpec)| {
            let (id, task) = trained.task(name)?;
            Ok(Exported { id, name, spec, truth: kinds.find(&spec.kind)?.truth.clone(), reads: task.reads() })
        };
        trained.tasks.iter().filter(|(name, _)| wanted(name)).map(exported).collect()
    }

    /// What a user of the file has to know of a task.
    fn stated(&self, trained: &Trained, task: &Exported, file: &str) -> Value {
        let reads = match (task.reads, trained.reads_pairs(task.id)) {
            (Reads::Tokens, _) => "tokens",
            (Reads::Text, Some(true)) => "pair",
            (Reads::Text, _) => "text",
        };
        let output = match task.truth {
            Label::Value(_) => "value",
            _ if self.logits => "logits",
            _ => "probabilities",
        };
        json!({
            "name": task.name, "file": file, "kind": task.spec.kind, "labels": task.spec.labels, "reads": reads,
            "output": output,
        })
    }

    fn tell(&self, page: &Value) -> Result<()> {
        if self.json {
            return output::line(&serde_json::to_string_pretty(page)?);
        }
        let text = |task: &Value, key: &str| task.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        let tasks: Vec<&Value> = page.get("tasks").and_then(Value::as_array).into_iter().flatten().collect();
        let mut files: Vec<String> = tasks.iter().map(|task| text(task, "file")).collect();
        files.dedup();
        for file in files {
            let bytes = std::fs::metadata(self.to.join(&file)).map_or(0, |data| data.len());
            let mut outputs = Vec::new();
            for task in tasks.iter().filter(|task| text(task, "file") == file) {
                outputs.push(format!("{} ({})", text(task, "name"), text(task, "output")));
            }
            output::result(&format!("{file}, {:.1} MB: {}", bytes as f64 / 1e6, outputs.join(", ")));
        }
        output::result(&format!("folder: {}", self.to.display()));
        Ok(())
    }
}

/// The longest input, in tokens.
fn max_tokens(trained: &Trained) -> usize {
    trained.recipe.train.max_tokens
}

/// A name for the file of the `index`-th of several groups.
fn file_name(index: usize, task: &str) -> String {
    let plain: String = task.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    match plain == task {
        true => format!("{task}.onnx"),
        // Two names might become one.
        false => format!("{plain}-{}.onnx", index + 1),
    }
}
