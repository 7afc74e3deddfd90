//! The model card: what a folder is, how it came about, and how good it is.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use mtl_eval::{Report, TaskReport};
use mtl_train::Trained;
use serde_json::{Map, Value, json};

use crate::plain::PlainModel;

/// Under which licence something is that a model was made of, as far as that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Licence {
    /// The encoder's or the dataset's name.
    pub of: String,
    /// Whether it is the encoder's.
    pub encoder: bool,
    /// As its source states it.
    pub licence: String,
}

/// What a card tells of a run.
#[derive(Clone, Debug)]
pub struct Card {
    /// The run's recipe, every default written out.
    pub recipe: String,
    /// The run's report, if it is finished.
    pub report: Option<Report>,
    /// Name of the encoder that training began from, if known.
    pub checkpoint: String,
    /// Licences of the encoder and the datasets.
    pub licences: Vec<Licence>,
    strategy: String,
    rule: String,
    seed: u64,
    steps: usize,
    rounded: bool,
}

impl Card {
    /// What is known of the run in `folder`, which is `trained`.
    ///
    /// # Errors
    /// If its report is damaged.
    pub fn of(trained: &Trained, folder: &Path) -> Result<Self> {
        let recipe = &trained.recipe;
        let path = folder.join("report.json");
        let report: Option<Report> = match path.exists() {
            true => {
                let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(serde_json::from_slice(&text).with_context(|| format!("{}: no report", path.display()))?)
            }
            false => None,
        };
        // A recipe may name a path of somebody's machine.
        let name = Path::new(&recipe.checkpoint).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let checkpoint = report.as_ref().map(|report| report.checkpoint.clone());
        Ok(Self {
            recipe: recipe.to_toml()?,
            checkpoint: checkpoint.filter(|name| !name.is_empty()).or(name).unwrap_or_default(),
            report,
            licences: Vec::new(),
            strategy: recipe.sharing.name.clone(),
            rule: recipe.weighting.name.clone(),
            seed: recipe.train.seed,
            steps: recipe.train.steps,
            rounded: recipe.train.precision == mtl_train::Precision::Bf16,
        })
    }

    /// The text of `README.md` for `models`, which are loaded by `usage`; `library` is what loads them.
    pub(crate) fn text(&self, models: &[PlainModel], library: &str, usage: &str, notes: &[String]) -> String {
        let mut text = self.front(models, library);
        let names: Vec<&str> = models.iter().map(|model| model.task.as_str()).collect();
        // Writing into a string does not fail.
        let _ = writeln!(text, "# {}\n", names.join(", "));
        let _ = writeln!(
            text,
            "`{}`, fine-tuned by [mtl](https://github.com/mtl-rs/mtl){}: sharing strategy `{}`, weighting rule `{}`, {} steps, \
             seed {}.\n",
            self.checkpoint,
            self.tasks(),
            self.strategy,
            self.rule,
            self.report.as_ref().map_or(self.steps, |report| report.steps),
            self.seed
        );
        let _ = writeln!(text, "```python\n{usage}```\n");
        notes.iter().for_each(|note| text.push_str(&format!("{note}\n\n")));
        if self.rounded {
            let _ = writeln!(
                text,
                "Training rounded the operands of products to bf16; computed in single precision, answers differ by that \
                 rounding.\n"
            );
        }
        self.results(models, &mut text);
        let _ = writeln!(text, "## Outputs\n");
        for model in models {
            let problem = model.problem.name().unwrap_or("one label for each token, read at a word's first token");
            let outputs = model.outputs();
            let shown = outputs.iter().take(40).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let more = if outputs.len() > 40 { format!(", … ({} in all)", outputs.len()) } else { String::new() };
            let pair = if model.pairs == Some(true) { "; reads pairs of texts" } else { "" };
            let _ = writeln!(
                text,
                "- `{}`: {problem}; {shown}{more}; texts are cut to {} tokens{pair}.",
                model.task, model.max_tokens
            );
        }
        self.made(&mut text);
        text
    }

    /// What it was trained on, as far as the report says.
    fn tasks(&self) -> String {
        let names = self.report.iter().flat_map(|report| report.tasks.keys());
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        match names.split_last() {
            None => String::new(),
            Some((last, [])) => format!(" on {last}"),
            Some((last, others)) => format!(" on {} and {last} together", others.join(", ")),
        }
    }

    /// The part that the Hub reads: YAML, each value written as JSON, which is YAML too.
    fn front(&self, models: &[PlainModel], library: &str) -> String {
        let mut keys: Vec<(&str, Value)> = Vec::new();
        let own = self.licences.iter().find(|licence| licence.encoder).map(|licence| hub_licence(&licence.licence));
        keys.extend(own.map(|licence| ("license", licence)));
        keys.push(("library_name", library.into()));
        let pipelines: Vec<&str> = models.iter().map(|model| model.problem.pipeline()).collect();
        if let Some(first) = pipelines.first().filter(|first| pipelines.iter().all(|other| other == *first)) {
            keys.push(("pipeline_tag", (*first).into()));
        }
        keys.push(("tags", json!(["mtl", "multi-task-learning"])));
        let results: Vec<Value> = models.iter().filter_map(|model| self.result(model)).collect();
        if !results.is_empty() {
            let names: Vec<&str> = models.iter().map(|model| model.task.as_str()).collect();
            keys.push(("model-index", json!([{ "name": names.join("-"), "results": results }])));
        }
        let lines: String = keys.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        format!("---\n{lines}---\n\n")
    }

    fn report_of(&self, model: &PlainModel) -> Option<&TaskReport> {
        self.report.as_ref()?.tasks.get(&model.task)
    }

    fn result(&self, model: &PlainModel) -> Option<Value> {
        let report = self.report_of(model)?;
        let split = if report.test.is_some() { "test" } else { "dev" };
        let metric = |(name, scores): (&String, &mtl_eval::Scores)| {
            let value = if report.test.is_some() { scores.test? } else { scores.dev };
            let mut keys = Map::new();
            keys.insert("type".into(), name.as_str().into());
            keys.insert("name".into(), name.as_str().into());
            keys.insert("value".into(), value.into());
            Some(Value::Object(keys))
        };
        let metrics: Vec<Value> = report.metrics.iter().filter_map(metric).collect();
        Some(json!({
            "task": { "type": model.problem.pipeline() },
            "dataset": { "name": model.task, "type": model.task, "split": split },
            "metrics": metrics,
        }))
    }

    fn results(&self, models: &[PlainModel], text: &mut String) {
        let reports: Vec<(&PlainModel, &TaskReport)> =
            models.iter().filter_map(|model| Some((model, self.report_of(model)?))).collect();
        if reports.is_empty() {
            return;
        }
        let _ =
            writeln!(text, "## Results\n\n| task | metric | dev | test | baseline |\n| --- | --- | --: | --: | --: |");
        for (model, report) in reports {
            for (name, scores) in &report.metrics {
                let test = scores.test.map_or("sealed".into(), |score| format!("{score:.4}"));
                let _ = writeln!(
                    text,
                    "| `{}` | {name} | {:.4} | {test} | {:.4} |",
                    model.task, scores.dev, scores.trivial
                );
            }
        }
        let _ = writeln!(
            text,
            "\nThe baseline answers the majority class or the mean of the training split. Seed {}; other seeds were not \
             looked at.\n",
            self.seed
        );
    }

    fn made(&self, text: &mut String) {
        let _ = writeln!(text, "\n## How it was made\n\n```sh\nmtl train recipe.toml\n```\n");
        let _ = writeln!(
            text,
            "`recipe.toml` lies beside this file, with every setting; the same recipe, data and seed give the same bits. \
             Paths in it start from the folder of the run."
        );
        if let Some(commit) = self.report.as_ref().and_then(|report| report.commit.as_deref()) {
            let _ = writeln!(text, "The program was built from commit {commit}.");
        }
        if !self.licences.is_empty() {
            let _ = writeln!(text, "\n## Licences\n\n| of | as its source states it |\n| --- | --- |");
            for Licence { of, encoder, licence } in &self.licences {
                let what = if *encoder { "encoder" } else { "dataset" };
                let _ = writeln!(text, "| {what} `{of}` | {} |", licence.replace('|', "\\|"));
            }
        }
    }
}

/// Licences by the names of the Hub.
const KNOWN: &[&str] = &["apache-2.0", "mit", "bsd-3-clause", "cc-by-2.0", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0"];

/// A licence as the Hub's field has it: a known name, several of them, or `other`.
fn hub_licence(licence: &str) -> Value {
    let names: Vec<String> = licence.split(" OR ").map(|name| name.trim().to_lowercase()).collect();
    match names.as_slice() {
        [one] if KNOWN.contains(&one.as_str()) => one.as_str().into(),
        several if several.len() > 1 && several.iter().all(|name| KNOWN.contains(&name.as_str())) => json!(several),
        _ => "other".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_called_as_on_the_hub() {
        for (stated, wanted) in [
            ("Apache-2.0", json!("apache-2.0")),
            ("MIT OR Apache-2.0", json!(["mit", "apache-2.0"])),
            ("research only: the texts belong to Reuters", json!("other")),
        ] {
            assert_eq!(hub_licence(stated), wanted);
        }
    }
}
