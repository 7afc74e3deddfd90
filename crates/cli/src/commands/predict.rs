//! `predict`.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use mtl_data::{Texts, Tokenizer};
use mtl_task::{Answer, Label, Reads, Task, TaskId};
use mtl_train::Trained;
use serde_json::{Map, Value, json};

use crate::device::OnDevice;
use crate::output;

/// Lines that are answered together.
const CHUNK: usize = 256;

/// Predict labels of texts with a run's model: one text a line, or one JSON object (`text`, or `text_a` and `text_b`, or `tokens`).
#[derive(Debug, Args)]
pub struct Predict {
    /// The run folder
    run: PathBuf,
    /// The task that predicts; without it, all that can read the line do, each line's answers as one JSON object
    #[arg(long)]
    task: Option<String>,
    /// A file of texts; `-` is standard input
    #[arg(long, default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    on: OnDevice,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Predict {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        let trained = Trained::open(&context.registries, &self.run, &self.on.open()?)?;
        let asked: Vec<(&str, TaskId, &dyn Task)> = (trained.tasks.iter().map(|(name, _)| name.as_str()))
            .filter(|_| self.task.is_none())
            .chain(self.task.as_deref())
            .map(|name| trained.task(name).map(|(id, task)| (name, id, task)))
            .collect::<Result<_>>()?;
        let name = self.input.display().to_string();
        let lines: Box<dyn BufRead> = match name.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            _ => Box::new(std::io::BufReader::new(
                std::fs::File::open(&self.input).with_context(|| format!("cannot read {name}"))?,
            )),
        };
        let mut waiting: Vec<Line> = Vec::new();
        let mut lines = lines.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let line = line.with_context(|| format!("{name}:{}: not UTF-8", index + 1))?;
            if !line.trim().is_empty() {
                let read = Line::parse(&line, &asked).and_then(|line| line.checked(&trained.tokenizer));
                waiting.push(read.with_context(|| format!("{name}:{}", index + 1))?);
            }
            if waiting.len() == CHUNK || lines.peek().is_none() {
                for answered in answers(&trained, &asked, &waiting)? {
                    match self.task {
                        None => output::line(&together(&answered).to_string())?,
                        Some(_) if self.json => {
                            answered.iter().try_for_each(|one| output::line(&one.object().to_string()))?
                        }
                        Some(_) => answered.iter().try_for_each(|one| output::line(&one.plain()))?,
                    }
                }
                waiting.clear();
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line as those read it who can.
struct Line {
    text: Option<Texts>,
    tokens: Option<Texts>,
}

impl Line {
    /// Refuses a line that none of the tasks `asked` can read.
    fn parse(line: &str, asked: &[(&str, TaskId, &dyn Task)]) -> Result<Self> {
        let read = |reads: Reads| asked.iter().any(|(.., task)| task.reads() == reads).then(|| parse(line, reads));
        match (read(Reads::Text), read(Reads::Tokens)) {
            (Some(Err(refusal)), None | Some(Err(_))) | (None, Some(Err(refusal))) => Err(refusal),
            (text, tokens) => Ok(Self { text: text.and_then(Result::ok), tokens: tokens.and_then(Result::ok) }),
        }
    }

    /// Refuses a line of which the tokenizer leaves nothing to read.
    fn checked(self, tokenizer: &Tokenizer) -> Result<Self> {
        [&self.text, &self.tokens].into_iter().flatten().try_for_each(|texts| tokenizer.check(texts))?;
        Ok(self)
    }

    fn read(&self, reads: Reads) -> Option<&Texts> {
        match reads {
            Reads::Text => self.text.as_ref(),
            Reads::Tokens => self.tokens.as_ref(),
        }
    }
}

/// A line as a text: an object if it looks like one, else the text itself (split at spaces for tagging).
fn parse(line: &str, reads: Reads) -> Result<Texts> {
    if !line.trim_start().starts_with('{') {
        return Ok(match reads {
            Reads::Text => Texts::One(line.to_string()),
            Reads::Tokens => Texts::Tokens(line.split_whitespace().map(String::from).collect()),
        });
    }
    let value: Value = serde_json::from_str(line).context("no JSON object")?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(String::from);
    if reads == Reads::Tokens {
        let words = value.get("tokens").and_then(Value::as_array).context("a tagging task needs `tokens`, a list")?;
        let words = words.iter().map(|word| word.as_str().map(String::from)).collect::<Option<Vec<String>>>();
        return Ok(Texts::Tokens(words.context("`tokens` must hold texts")?));
    }
    match (text("text"), text("text_a"), text("text_b")) {
        (Some(text), _, _) => Ok(Texts::One(text)),
        (None, Some(a), Some(b)) => Ok(Texts::Pair(a, b)),
        _ => bail!("an object needs `text`, or `text_a` and `text_b`"),
    }
}

/// One task's answer to one line.
struct Answered<'a> {
    name: &'a str,
    task: &'a dyn Task,
    text: &'a Texts,
    answer: Answer,
}

/// What the tasks `asked` say of each of `lines`, as far as they can read it.
fn answers<'a>(
    trained: &Trained,
    asked: &[(&'a str, TaskId, &'a dyn Task)],
    lines: &'a [Line],
) -> Result<Vec<Vec<Answered<'a>>>> {
    let readable = |reads: Reads| lines.iter().filter_map(|line| line.read(reads).cloned()).collect::<Vec<Texts>>();
    let (texts, tokens) = (readable(Reads::Text), readable(Reads::Tokens));
    let wanted = asked.iter().map(|(_, id, task)| match task.reads() {
        Reads::Text => (*id, &texts[..]),
        Reads::Tokens => (*id, &tokens[..]),
    });
    let answers = trained.answer_each(&wanted.collect::<Vec<_>>())?;
    let mut all: Vec<Vec<Answered>> = lines.iter().map(|_| Vec::new()).collect();
    for (&(name, _, task), answers) in asked.iter().zip(answers) {
        let readers = all.iter_mut().zip(lines).filter_map(|(all, line)| Some((all, line.read(task.reads())?)));
        readers.zip(answers).for_each(|((all, text), answer)| all.push(Answered { name, task, text, answer }));
    }
    Ok(all)
}

/// One line's predictions by task, under the line's text.
fn together(answered: &[Answered]) -> Value {
    let mut object = Map::new();
    answered.iter().for_each(|one| object.extend(one.asked()));
    let answers = answered.iter().map(|one| (one.name.to_string(), Value::Object(one.said())));
    object.insert("answers".into(), answers.collect());
    Value::Object(object)
}

impl Answered<'_> {
    /// The text, by its keys.
    fn asked(&self) -> Map<String, Value> {
        let pairs = match self.text {
            Texts::One(text) => vec![("text", json!(text))],
            Texts::Pair(a, b) => vec![("text_a", json!(a)), ("text_b", json!(b))],
            Texts::Tokens(words) => vec![("tokens", json!(words))],
        };
        pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    /// The answer and its scores, by their keys.
    fn said(&self) -> Map<String, Value> {
        let Answer { label, scores } = &self.answer;
        let key = match label {
            Label::Class(_) | Label::Set(_) => "label",
            Label::Value(_) => "value",
            Label::Tags(_) => "tags",
        };
        let scores = match label {
            Label::Tags(_) => json!(scores),
            _ if scores.is_empty() => json!(scores),
            _ => self.task.names().iter().cloned().zip(scores.iter().map(|&score| json!(score))).collect(),
        };
        [(key.to_string(), self.task.render(label)), ("scores".to_string(), scores)].into_iter().collect()
    }

    fn object(&self) -> Value {
        self.asked().into_iter().chain(self.said()).collect()
    }

    fn plain(&self) -> String {
        let shown = match self.task.render(&self.answer.label) {
            Value::String(label) => label,
            Value::Array(labels) => labels.iter().map(|l| l.as_str().unwrap_or("-")).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        match self.text {
            Texts::One(text) => format!("{shown}\t{text}"),
            Texts::Pair(a, b) => format!("{shown}\t{a}\t{b}"),
            Texts::Tokens(words) => format!("{shown}\t{}", words.join(" ")),
        }
    }
}
