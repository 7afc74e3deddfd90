//! What tasks answer, and how it is shown.

use anyhow::Result;
use mtl_data::Texts;
use mtl_task::{Answer, Label, Task, TaskId};
use mtl_train::Trained;
use serde_json::{Map, Value, json};

use super::form::Line;

/// A task that is asked.
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) id: TaskId,
    pub(super) task: &'a dyn Task,
    /// Which of a line's texts it reads.
    pub(super) view: usize,
}

/// One task's answer to one line.
pub(super) struct Answered<'a> {
    pub(super) name: &'a str,
    pub(super) task: &'a dyn Task,
    text: &'a Texts,
    pub(super) answer: Answer,
}

/// What the tasks `asked` say of each of `lines`, as far as they can read it.
pub(super) fn answers<'a>(trained: &Trained, asked: &[Asked<'a>], lines: &'a [Line]) -> Result<Vec<Vec<Answered<'a>>>> {
    let readable: Vec<Vec<Texts>> =
        asked.iter().map(|asked| lines.iter().filter_map(|line| line.read(asked.view).cloned()).collect()).collect();
    let wanted: Vec<(TaskId, &[Texts])> =
        asked.iter().zip(&readable).map(|(asked, texts)| (asked.id, texts.as_slice())).collect();
    let answers = trained.answer_each(&wanted)?;
    let mut all: Vec<Vec<Answered>> = lines.iter().map(|_| Vec::new()).collect();
    for (&Asked { name, task, view, .. }, answers) in asked.iter().zip(answers) {
        let readers = all.iter_mut().zip(lines).filter_map(|(all, line)| Some((all, line.read(view)?)));
        readers.zip(answers).for_each(|((all, text), answer)| all.push(Answered { name, task, text, answer }));
    }
    Ok(all)
}

/// One line's predictions by task, under the line's text.
pub(super) fn together(answered: &[Answered]) -> Value {
    let mut object = Map::new();
    answered.iter().for_each(|one| object.extend(asked(one.text)));
    let answers = answered.iter().map(|one| (one.name.to_string(), Value::Object(one.said())));
    object.insert("answers".into(), answers.collect());
    Value::Object(object)
}

/// A text, by its keys.
pub(in crate::commands) fn asked(text: &Texts) -> Map<String, Value> {
    let pairs = match text {
        Texts::One(text) => vec![("text", json!(text))],
        Texts::Pair(a, b) => vec![("text_a", json!(a)), ("text_b", json!(b))],
        Texts::Tokens(words) => vec![("tokens", json!(words))],
    };
    pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// The answer and its scores, by their keys.
pub(in crate::commands) fn said(task: &dyn Task, answer: &Answer) -> Map<String, Value> {
    let Answer { label, scores } = answer;
    let key = match label {
        Label::Class(_) | Label::Set(_) => "label",
        Label::Value(_) => "value",
        Label::Tags(_) => "tags",
    };
    let scores = match label {
        Label::Tags(_) => json!(scores),
        _ if scores.is_empty() => json!(scores),
        _ => task.names().iter().cloned().zip(scores.iter().map(|&score| json!(score))).collect(),
    };
    [(key.to_string(), task.render(label)), ("scores".to_string(), scores)].into_iter().collect()
}

impl Answered<'_> {
    /// The answer and its scores, by their keys.
    pub(super) fn said(&self) -> Map<String, Value> {
        said(self.task, &self.answer)
    }

    /// The answer as cells of a table: the label, the value, the labels of a set with semicolons between them, or the tags
    /// with spaces; then the probability of each, if it has any.
    pub(super) fn cells(&self) -> Vec<String> {
        let Answer { label, scores } = &self.answer;
        let names = self.task.names();
        let name = |at: usize| names.get(at).cloned().unwrap_or_default();
        let score = |at: usize| scores.get(at).map(ToString::to_string).unwrap_or_default();
        let joined = |places: Vec<usize>, shown: &dyn Fn(usize) -> String, mark: &str| {
            places.into_iter().map(shown).collect::<Vec<_>>().join(mark)
        };
        match label {
            Label::Value(value) => vec![value.to_string()],
            Label::Class(class) => vec![name(*class as usize), score(*class as usize)],
            Label::Set(set) => {
                let held = || set.iter().enumerate().filter(|(_, holds)| **holds).map(|(at, _)| at).collect();
                vec![joined(held(), &name, ";"), joined(held(), &score, ";")]
            }
            Label::Tags(tags) => vec![
                joined(tags.iter().map(|&tag| tag as usize).collect(), &name, " "),
                joined((0..tags.len()).collect(), &score, " "),
            ],
        }
    }

    pub(super) fn object(&self) -> Value {
        asked(self.text).into_iter().chain(self.said()).collect()
    }

    pub(super) fn plain(&self) -> String {
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
