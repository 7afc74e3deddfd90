//! Tables: rows with named columns, which are given back with the answers behind them.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result, bail};
use csv::{Terminator, WriterBuilder};
use mtl_data::Texts;
use mtl_data::manifest::ReaderSpec;
use mtl_data::reader::{self, Field, Record, Source};
use mtl_task::{Cell, Label};
use mtl_train::Registries;
use serde_json::{Map, Value};

use super::answer::Answered;
use super::form::{Form, Line};
use crate::output;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Csv,
    Tsv,
    Jsonl,
}

/// A row, and where it stands.
pub(super) enum Row {
    Cells(Record),
    /// An object as it was written, and what it says.
    Object {
        raw: String,
        object: Map<String, Value>,
        place: String,
    },
}

/// The columns that a task reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    form: Form,
    columns: Vec<String>,
}

/// The rows of a table, in order.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row>>>;

/// The rows of `input`, which is called `name`.
///
/// # Errors
/// If it cannot be read. A row that is malformed is an error of its own.
pub(super) fn rows(
    registries: &Registries,
    dialect: Dialect,
    path: Option<&Path>,
    mut input: Box<dyn BufRead>,
) -> Result<Rows> {
    let name = path.map_or("-".to_string(), |path| path.display().to_string());
    if dialect == Dialect::Jsonl {
        let lines = input.lines().enumerate().map(move |(index, line)| {
            let place = format!("{name}:{}", index + 1);
            let line = line.with_context(|| format!("{place}: not UTF-8"))?;
            let raw = if index == 0 { line.trim_start_matches('\u{feff}') } else { &line };
            object(raw.trim(), place)
        });
        return Ok(Box::new(lines.filter_map(Result::transpose)));
    }
    let reader = registries.data.readers.find(dialect.reader())?;
    let spec = ReaderSpec::default();
    let (records, notes) = match path {
        Some(path) => reader::read_source(reader, &Source::new(path), &spec)?,
        None => {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).context("cannot read standard input")?;
            reader::read_source(reader, &Source::of_bytes("-", &bytes), &spec)?
        }
    };
    notes.iter().for_each(|note| output::note(note));
    Ok(Box::new(records.into_iter().map(|record| Ok(Row::Cells(record)))))
}

/// A line of JSON Lines; none if it is blank.
fn object(raw: &str, place: String) -> Result<Option<Row>> {
    if raw.is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_str(raw).with_context(|| format!("{place}: no JSON object"))?;
    let Value::Object(object) = value else { bail!("{place}: a JSON object was expected, found `{}`", short(raw)) };
    Ok(Some(Row::Object { raw: raw.to_string(), object, place }))
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

impl Dialect {
    /// The reader's name.
    fn reader(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
        }
    }

    /// The lines of `records`.
    fn delimited(self, records: &[Vec<String>]) -> Result<String> {
        let delimiter = if self == Self::Tsv { b'\t' } else { b',' };
        let mut writer =
            WriterBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).from_writer(Vec::new());
        records.iter().try_for_each(|record| writer.write_record(record))?;
        Ok(String::from_utf8(writer.into_inner().context("a table in memory")?)?)
    }

    /// What stands above the rows, if anything does.
    ///
    /// # Errors
    /// Never for columns of text.
    pub(super) fn header(self, first: &Row, added: &[String]) -> Result<String> {
        match self {
            Self::Jsonl => Ok(String::new()),
            Self::Csv | Self::Tsv => self.delimited(&[[first.columns(), added.to_vec()].concat()]),
        }
    }

    /// `rows`, each with what was `answered` to it.
    ///
    /// # Errors
    /// Never for what could be read.
    pub(super) fn written(self, rows: &[Row], answered: &[Vec<Answered>]) -> Result<String> {
        let mut lines = String::new();
        for (row, answered) in rows.iter().zip(answered) {
            match row {
                Row::Cells(record) => {
                    let cells = record.fields.iter().map(|field| match field {
                        Field::Cell(Cell::Text(text)) => text.clone(),
                        // A delimited file has nothing else.
                        Field::Cell(Cell::Many(_)) | Field::Other(_) => String::new(),
                    });
                    lines += &self.delimited(&[cells.chain(answered.iter().flat_map(Answered::cells)).collect()])?;
                }
                Row::Object { raw, object, .. } => {
                    // What was written stays as it was written: numbers of any length, the order of keys.
                    lines += raw.strip_suffix('}').unwrap_or(raw).trim_end();
                    for (index, one) in answered.iter().enumerate() {
                        let comma = if index > 0 || !object.is_empty() { "," } else { "" };
                        let said = serde_json::to_string(&one.said())?;
                        lines += &format!("{comma}{}:{said}", serde_json::to_string(one.name)?);
                    }
                    lines += "}\n";
                }
            }
        }
        Ok(lines)
    }

    /// The columns that the answers of the task `name` stand in, whose truths are like `truth`.
    pub(super) fn added(self, name: &str, truth: &Label) -> Vec<String> {
        match (self, truth) {
            (Self::Jsonl, _) | (_, Label::Value(_)) => vec![name.to_string()],
            _ => vec![name.to_string(), format!("{name}.probability")],
        }
    }
}

impl Row {
    /// The names of its columns.
    pub(super) fn columns(&self) -> Vec<String> {
        match self {
            Self::Cells(record) => record.columns.to_vec(),
            Self::Object { object, .. } => object.keys().cloned().collect(),
        }
    }

    /// Where it stands.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Cells(record) => record.place.to_string(),
            Self::Object { place, .. } => place.clone(),
        }
    }

    /// What stands in `column`.
    fn cell(&self, column: &str) -> Result<Cell> {
        let (object, place) = match self {
            Self::Cells(record) => return record.field(column).cloned(),
            Self::Object { object, place, .. } => (object, place),
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match object.get(column) {
            Some(Value::Array(list)) => match list.iter().map(text).collect::<Option<Vec<String>>>() {
                Some(words) => Ok(Cell::Many(words)),
                None => bail!("{place}: key `{column}`: a list of texts was expected"),
            },
            Some(value) => match text(value) {
                Some(text) => Ok(Cell::Text(text)),
                None => bail!("{place}: key `{column}`: a text was expected, found `{}`", short(&value.to_string())),
            },
            None => {
                let keys: Vec<String> = object.keys().cloned().collect();
                let nearest = mtl_task::nearest(column, keys.iter().map(String::as_str));
                bail!("{place}: no key `{column}`{nearest}; there are {}", keys.join(", "))
            }
        }
    }

    /// The row as each of `views` reads it.
    ///
    /// # Errors
    /// If a column is missing or is no text.
    pub(super) fn read(&self, views: &[View]) -> Result<Line> {
        let text = |column: &str| match self.cell(column)? {
            Cell::Text(text) => Ok(text),
            Cell::Many(list) => {
                bail!("{}: column `{column}`: a text was expected, found a list of {}", self.place(), list.len())
            }
        };
        let texts = |view: &View| match (view.form, view.columns.as_slice()) {
            (Form::Tokens, [column]) => Ok(Texts::Tokens(match self.cell(column)? {
                Cell::Many(words) => words,
                Cell::Text(text) => text.split_whitespace().map(String::from).collect(),
            })),
            (_, [a, b]) => Ok(Texts::Pair(text(a)?, text(b)?)),
            (_, [column]) => Ok(Texts::One(text(column)?)),
            (_, columns) => bail!("a text or two were expected, found {} columns", columns.len()),
        };
        let read = |(view, columns): (usize, &View)| Ok((view, texts(columns)?));
        views.iter().enumerate().map(read).collect::<Result<_>>().map(Line)
    }
}

/// Columns as they are asked for, by `--text` and `--pair`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) text: Option<&'a str>,
    pub(super) pair: Option<&'a str>,
}

impl View {
    /// What a task of `form` reads in a table of the columns `there`: those that are `named`, else those of the files
    /// that it was `trained` on, else those of the usual names.
    ///
    /// # Errors
    /// If the columns are not there: which, and what is.
    pub(super) fn of(form: Form, named: Named, trained: &[String], there: &[String]) -> Result<Self> {
        let owned = |columns: &[&str]| columns.iter().map(|column| (*column).to_string()).collect::<Vec<String>>();
        let (one, two) = (owned(&["text"]), owned(&["text_a", "text_b"]));
        let choices: Vec<Vec<String>> = match (named.text, named.pair, form) {
            (Some(a), Some(b), Form::Pair | Form::Either) => vec![owned(&[a, b])],
            (Some(_), None, Form::Pair) => bail!("it reads pairs of texts: --pair names the column of the second one"),
            (Some(a), _, _) => vec![owned(&[a])],
            (None, ..) => {
                let usual = match form {
                    Form::One => vec![one],
                    Form::Pair => vec![two],
                    Form::Either => vec![two, one],
                    Form::Tokens => vec![owned(&["tokens"]), one],
                };
                let trained = (!trained.is_empty()).then(|| trained.to_vec());
                trained.into_iter().chain(usual).collect()
            }
        };
        let missing = |columns: &[String]| columns.iter().find(|column| !there.contains(column)).cloned();
        if let Some(columns) = choices.iter().find(|columns| missing(columns).is_none()) {
            return Ok(Self { form, columns: columns.clone() });
        }
        let wanted = choices.first().and_then(|columns| missing(columns)).unwrap_or_default();
        let nearest = mtl_task::nearest(&wanted, there.iter().map(String::as_str));
        bail!("no column `{wanted}`{nearest}; there are {}; --text names the column to read", there.join(", "))
    }
}
