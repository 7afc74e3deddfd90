//! `cargo xtask predict`.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Args;
use mtl_data::Texts;
use mtl_task::{Answer, Reads, Task};
use mtl_train::Trained;
use serde_json::{Value, json};

/// Lines that are answered together.
const CHUNK: usize = 256;

/// Answer texts with a run's model: one text a line, or one JSON object (`text`, or `text_a` and `text_b`, or `tokens`).
#[derive(Debug, Args)]
pub struct Predict {
    /// The run folder
    run: PathBuf,
    /// The task whose head answers
    #[arg(long)]
    task: String,
    /// A file of texts; `-` is standard input
    #[arg(long, default_value = "-")]
    input: PathBuf,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Predict {
    pub(super) fn run(self) -> Result<ExitCode> {
        let trained = Trained::open(&self.run, &Device::Cpu)?;
        let (id, task) = trained.task(&self.task)?;
        let name = self.input.display().to_string();
        let lines: Box<dyn BufRead> = match name.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            _ => Box::new(std::io::BufReader::new(
                std::fs::File::open(&self.input).with_context(|| format!("cannot read {name}"))?,
            )),
        };
        let mut out = std::io::stdout().lock();
        let mut waiting: Vec<Texts> = Vec::new();
        let mut lines = lines.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let line = line.with_context(|| format!("{name}:{}: not UTF-8", index + 1))?;
            if !line.trim().is_empty() {
                waiting.push(parse(&line, task).with_context(|| format!("{name}:{}", index + 1))?);
            }
            if waiting.len() == CHUNK || lines.peek().is_none() {
                let answers = trained.answer(id, &waiting)?;
                for (text, answer) in waiting.drain(..).zip(answers) {
                    match self.json {
                        true => writeln!(out, "{}", object(&text, task, &answer))?,
                        false => writeln!(out, "{}", plain(&text, task, &answer))?,
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line as the task's text: an object if it looks like one, else the text itself (split at spaces for tagging).
fn parse(line: &str, task: &dyn Task) -> Result<Texts> {
    if !line.trim_start().starts_with('{') {
        return Ok(match task.reads() {
            Reads::Text => Texts::One(line.to_string()),
            Reads::Tokens => Texts::Tokens(line.split_whitespace().map(String::from).collect()),
        });
    }
    let value: Value = serde_json::from_str(line).context("no JSON object")?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(String::from);
    if task.reads() == Reads::Tokens {
        let words = value.get("tokens").and_then(Value::as_array).context("a tagging task wants `tokens`, a list")?;
        let words = words.iter().map(|word| word.as_str().map(String::from)).collect::<Option<Vec<String>>>();
        return Ok(Texts::Tokens(words.context("`tokens` must hold texts")?));
    }
    match (text("text"), text("text_a"), text("text_b")) {
        (Some(text), _, _) => Ok(Texts::One(text)),
        (None, Some(a), Some(b)) => Ok(Texts::Pair(a, b)),
        _ => bail!("an object needs `text`, or `text_a` and `text_b`"),
    }
}

fn object(text: &Texts, task: &dyn Task, answer: &Answer) -> Value {
    let mut object = match text {
        Texts::One(text) => json!({ "text": text }),
        Texts::Pair(a, b) => json!({ "text_a": a, "text_b": b }),
        Texts::Tokens(words) => json!({ "tokens": words }),
    };
    let key = match answer.label {
        mtl_task::Label::Class(_) | mtl_task::Label::Set(_) => "label",
        mtl_task::Label::Value(_) => "value",
        mtl_task::Label::Tags(_) => "tags",
    };
    object[key] = task.render(&answer.label);
    let named = !matches!(answer.label, mtl_task::Label::Tags(_)) && !answer.scores.is_empty();
    object["scores"] = match named {
        true => task.names().iter().cloned().zip(answer.scores.iter().map(|&score| json!(score))).collect(),
        false => json!(answer.scores),
    };
    object
}

fn plain(text: &Texts, task: &dyn Task, answer: &Answer) -> String {
    let shown = match task.render(&answer.label) {
        Value::String(label) => label,
        Value::Array(labels) => labels.iter().map(|l| l.as_str().unwrap_or("-")).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    match text {
        Texts::One(text) => format!("{shown}\t{text}"),
        Texts::Pair(a, b) => format!("{shown}\t{a}\t{b}"),
        Texts::Tokens(words) => format!("{shown}\t{}", words.join(" ")),
    }
}
