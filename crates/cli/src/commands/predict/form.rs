//! What tasks read: a text, a pair, or words.

use anyhow::{Context, Result, bail};
use mtl_data::{Texts, Tokenizer};
use mtl_task::{Reads, Task, TaskId};
use mtl_train::Trained;
use serde_json::Value;

/// What a task reads in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
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
    pub(super) fn of(trained: &Trained, id: TaskId, task: &dyn Task) -> Self {
        match (task.reads(), trained.reads_pairs(id)) {
            (Reads::Tokens, _) => Self::Tokens,
            (Reads::Text, Some(true)) => Self::Pair,
            (Reads::Text, Some(false)) => Self::One,
            (Reads::Text, None) => Self::Either,
        }
    }

    /// What a line has to be.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::One => "one text a line, or an object with `text`",
            Self::Pair => "two texts a line with a tab between them, or an object with `text_a` and `text_b`",
            Self::Either => "a text a line, or an object with `text`, or `text_a` and `text_b`",
            Self::Tokens => "words between spaces, or an object with `tokens`, a list",
        }
    }

    /// A line as this form: an object if it looks like one, else the text itself.
    pub(super) fn read(self, line: &str) -> Result<Texts> {
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

/// What tasks read of a line or row: a text for each of several views, which are forms of a line, or columns of a table.
/// Not every view finds something in every line.
pub(super) struct Line(pub(super) Vec<(usize, Texts)>);

impl Line {
    /// A line as each of `forms` reads it that can, the forms being its views. Refuses one that none of them can.
    pub(super) fn parse(line: &str, forms: &[Form]) -> Result<Self> {
        let mut refusal = None;
        let mut read = Vec::new();
        for (view, form) in forms.iter().enumerate() {
            match form.read(line) {
                Ok(texts) => read.push((view, texts)),
                Err(error) => refusal = Some(refusal.unwrap_or(error)),
            }
        }
        match refusal {
            Some(refusal) if read.is_empty() => Err(refusal),
            _ => Ok(Self(read)),
        }
    }

    /// Refuses a line of which the tokenizer leaves nothing to read.
    pub(super) fn checked(self, tokenizer: &Tokenizer) -> Result<Self> {
        self.0.iter().try_for_each(|(_, texts)| tokenizer.check(texts))?;
        Ok(self)
    }

    pub(super) fn read(&self, view: usize) -> Option<&Texts> {
        self.0.iter().find(|(known, _)| *known == view).map(|(_, texts)| texts)
    }
}
