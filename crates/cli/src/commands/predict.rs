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

use crate::device::{OnDevice, set_threads};
use crate::output;

/// Lines that are answered together.
const CHUNK: usize = 256;

/// Predict labels of texts with a run's model
///
/// A line is a text (two with a tab between them for a task of pairs), or a JSON object (`text`, or `text_a` and `text_b`,
/// or `tokens`). Every line has its answer, in order; a blank one is a text without words.
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
        set_threads(0)?;
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
        let mut forms: Vec<Form> = asked.iter().map(|(_, id, task)| Form::of(&trained, *id, *task)).collect();
        forms.sort_unstable();
        forms.dedup();
        let asked: Vec<Asked> = asked
            .into_iter()
            .map(|(name, id, task)| Asked { name, id, task, form: Form::of(&trained, id, task) })
            .collect();
        let mut waiting: Vec<Line> = Vec::new();
        let mut lines = lines.lines().enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            let line = line.with_context(|| format!("{name}:{}: not UTF-8", index + 1))?;
            let line = if index == 0 { line.trim_start_matches('\u{feff}') } else { &line };
            // A blank line is a text without words: it has an answer like any other, so that answers keep step with lines.
            let read = Line::parse(line, &forms).and_then(|line| line.checked(&trained.tokenizer));
            waiting.push(read.with_context(|| format!("{name}:{}", index + 1))?);
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

/// A task that is asked.
struct Asked<'a> {
    name: &'a str,
    id: TaskId,
    task: &'a dyn Task,
    form: Form,
}

/// What a task reads in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// One text.
    One,
    /// Two texts.
    Pair,
    /// One text or two: a run of before, which does not say.
    Either,
    /// Words.
    Tokens,
}

impl Form {
    fn of(trained: &Trained, id: TaskId, task: &dyn Task) -> Self {
        match (task.reads(), trained.reads_pairs(id)) {
            (Reads::Tokens, _) => Self::Tokens,
            (Reads::Text, Some(true)) => Self::Pair,
            (Reads::Text, Some(false)) => Self::One,
            (Reads::Text, None) => Self::Either,
        }
    }

    /// What a line has to be.
    fn wanted(self) -> &'static str {
        match self {
            Self::One => "one text a line, or an object with `text`",
            Self::Pair => "two texts a line with a tab between them, or an object with `text_a` and `text_b`",
            Self::Either => "a text a line, or an object with `text`, or `text_a` and `text_b`",
            Self::Tokens => "words between spaces, or an object with `tokens`, a list",
        }
    }

    /// A line as this form: an object if it looks like one, else the text itself.
    fn read(self, line: &str) -> Result<Texts> {
        if !line.trim_start().starts_with('{') {
            return match (self, line.split_once('\t')) {
                (Self::Tokens, _) => Ok(Texts::Tokens(line.split_whitespace().map(String::from).collect())),
                (Self::One | Self::Either, _) => Ok(Texts::One(line.to_string())),
                (Self::Pair, Some((a, b))) if !b.contains('\t') => Ok(Texts::Pair(a.to_string(), b.to_string())),
                (Self::Pair, _) => match line.split('\t').count() {
                    1 => bail!("one text without a tab, expected {}", self.wanted()),
                    count => bail!("{count} texts between tabs, expected {}", self.wanted()),
                },
            };
        }
        let value: Value = serde_json::from_str(line).context("no JSON object")?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(String::from);
        if self == Self::Tokens {
            let words =
                value.get("tokens").and_then(Value::as_array).context("a tagging task needs `tokens`, a list")?;
            let words = words.iter().map(|word| word.as_str().map(String::from)).collect::<Option<Vec<String>>>();
            return Ok(Texts::Tokens(words.context("`tokens` must hold texts")?));
        }
        match (text("text"), text("text_a"), text("text_b")) {
            (Some(text), None, None) if self != Self::Pair => Ok(Texts::One(text)),
            (None, Some(a), Some(b)) if self != Self::One => Ok(Texts::Pair(a, b)),
            _ => {
                let keys: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                bail!("an object with {}; expected {}", keys.join(", "), self.wanted())
            }
        }
    }
}

/// A line as each of the forms reads it that can.
struct Line(Vec<(Form, Texts)>);

impl Line {
    /// Refuses a line that none of `forms` can read.
    fn parse(line: &str, forms: &[Form]) -> Result<Self> {
        let mut refusal = None;
        let mut read = Vec::new();
        for &form in forms {
            match form.read(line) {
                Ok(texts) => read.push((form, texts)),
                Err(error) => refusal = Some(refusal.unwrap_or(error)),
            }
        }
        match refusal {
            Some(refusal) if read.is_empty() => Err(refusal),
            _ => Ok(Self(read)),
        }
    }

    /// Refuses a line of which the tokenizer leaves nothing to read.
    fn checked(self, tokenizer: &Tokenizer) -> Result<Self> {
        self.0.iter().try_for_each(|(_, texts)| tokenizer.check(texts))?;
        Ok(self)
    }

    fn read(&self, form: Form) -> Option<&Texts> {
        self.0.iter().find(|(known, _)| *known == form).map(|(_, texts)| texts)
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
fn answers<'a>(trained: &Trained, asked: &[Asked<'a>], lines: &'a [Line]) -> Result<Vec<Vec<Answered<'a>>>> {
    let readable: Vec<Vec<Texts>> =
        asked.iter().map(|asked| lines.iter().filter_map(|line| line.read(asked.form).cloned()).collect()).collect();
    let wanted: Vec<(TaskId, &[Texts])> =
        asked.iter().zip(&readable).map(|(asked, texts)| (asked.id, texts.as_slice())).collect();
    let answers = trained.answer_each(&wanted)?;
    let mut all: Vec<Vec<Answered>> = lines.iter().map(|_| Vec::new()).collect();
    for (&Asked { name, task, form, .. }, answers) in asked.iter().zip(answers) {
        let readers = all.iter_mut().zip(lines).filter_map(|(all, line)| Some((all, line.read(form)?)));
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
