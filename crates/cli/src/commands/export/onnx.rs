//! `export --onnx`.

mod model;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use mtl_onnx::MOST_INLINE;
use mtl_task::{Label, Reads, TaskId, TaskSpec};
use mtl_train::{Trained, write_atomically};
use serde_json::{Value, json};

use crate::folder::NewFolder;
use crate::output;

/// A task that is exported.
struct Exported<'a> {
    id: TaskId,
    name: &'a str,
    spec: &'a TaskSpec,
    /// What truths of its kind look like.
    truth: Label,
    reads: Reads,
}

/// Writes the task called `task` of `trained`, or all of them, into the folder `to`.
///
/// # Errors
/// If `to` is not empty, a task sees more than an encoder with other weights, or the disk refuses.
pub(super) fn write(trained: &Trained, task: Option<&str>, logits: bool, to: &Path) -> Result<ExitCode> {
    let new = NewFolder::beside(to)?;
    let tasks = asked(trained, task)?;
    let groups = model::groups(trained, &tasks)?;
    let max_tokens = trained.recipe.train.max_tokens;
    let mut said = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let file = match groups.len() {
            1 => "model.onnx".to_string(),
            _ => file_name(index, group.tasks.first().map_or("", |task| task.name)),
        };
        let tasks: Vec<Value> = group.tasks.iter().map(|task| stated(trained, task, &file, logits)).collect();
        let facts = [("mtl.tasks", json!(tasks).to_string()), ("mtl.max_tokens", max_tokens.to_string())];
        let data = format!("{file}.data");
        let files = model::graph(trained, group, logits)?.files(&facts, &data, MOST_INLINE)?;
        write_atomically(&new.path().join(&file), &files.model)?;
        if let Some(bytes) = &files.data {
            write_atomically(&new.path().join(&data), bytes)?;
        }
        said.extend(tasks);
    }
    write_atomically(&new.path().join("tokenizer.json"), trained.tokenizer.to_json()?.as_bytes())?;
    let page = json!({ "max_tokens": max_tokens, "tasks": said });
    write_atomically(&new.path().join("tasks.json"), &serde_json::to_vec_pretty(&page)?)?;
    new.keep()?;
    if trained.recipe.train.precision == mtl_train::Precision::Bf16 {
        output::note(
            "the run computes products in bfloat16, the graph in single precision: outputs differ in the third digit",
        );
    }
    tell(&said, to);
    Ok(ExitCode::SUCCESS)
}

/// The tasks that are asked for, in the run's order.
fn asked<'a>(trained: &'a Trained, task: Option<&str>) -> Result<Vec<Exported<'a>>> {
    if let Some(name) = task {
        trained.task(name)?;
    }
    let kinds = &trained.recipe.registries.data.kinds;
    let exported = |(name, spec): &'a (String, TaskSpec)| {
        let (id, task) = trained.task(name)?;
        Ok(Exported { id, name, spec, truth: kinds.find(&spec.kind)?.truth.clone(), reads: task.reads() })
    };
    trained.tasks.iter().filter(|(name, _)| task.is_none_or(|task| task == name)).map(exported).collect()
}

/// What a user of `file` has to know of a task.
fn stated(trained: &Trained, task: &Exported, file: &str, logits: bool) -> Value {
    let reads = match (task.reads, trained.reads_pairs(task.id)) {
        (Reads::Tokens, _) => "tokens",
        (Reads::Text, Some(true)) => "pair",
        (Reads::Text, _) => "text",
    };
    let output = match task.truth {
        Label::Value(_) => "value",
        _ if logits => "logits",
        _ => "probabilities",
    };
    json!({
        "name": task.name, "file": file, "kind": task.spec.kind, "labels": task.spec.labels, "reads": reads,
        "output": output,
    })
}

fn tell(tasks: &[Value], to: &Path) {
    let text = |task: &Value, key: &str| task.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    let mut files: Vec<String> = tasks.iter().map(|task| text(task, "file")).collect();
    files.dedup();
    for file in files {
        let bytes = std::fs::metadata(to.join(&file)).map_or(0, |data| data.len());
        let own = tasks.iter().filter(|task| text(task, "file") == file);
        let outputs: Vec<String> =
            own.map(|task| format!("{} ({})", text(task, "name"), text(task, "output"))).collect();
        output::result(&format!("{file}, {:.1} MB: {}", bytes as f64 / 1e6, outputs.join(", ")));
    }
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
