//! JSON: one object a line, or one array of objects, which may lie under a key.
//!
//! A number is written the same way however its file writes it: `1.0` and `1e0` are `1`.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use mtl_task::Cell;
use serde_json::{Number, Value};

use super::record::{Field, NULL, Place, Record, named};
use super::source::MOST_CELLS;
use super::{Reader, Source};
use crate::manifest::ReaderSpec;

pub(super) const JSONL: Reader =
    Reader { name: "jsonl", about: "one JSON object a line", endings: &["jsonl", "ndjson"], read: lines };

pub(super) const JSON: Reader =
    Reader { name: "json", about: "one JSON array of objects", endings: &["json"], read: array };

fn lines(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let mut records: Vec<Record> = Vec::new();
    let mut cells = 0;
    for (index, line) in text.trim_end().lines().enumerate() {
        let place = source.line(index + 1);
        if line.trim().is_empty() {
            bail!("{place}: a blank line; every line has to be a JSON object");
        }
        let value: Value = serde_json::from_str(line).map_err(|error| {
            let hint = match line.trim_end() {
                line if line.ends_with("},") => {
                    "; a comma ends the line, as in an array: take reader `json`, or drop it"
                }
                line if line.ends_with(['[', ',', '{']) => {
                    "; an object may not go over several lines here: is it reader `json`?"
                }
                _ => "",
            };
            anyhow!("{place}: column {}: no JSON object: {}{hint}", error.column(), reason(&error))
        })?;
        if value.is_array() && index == 0 {
            bail!("{place}: an object was expected, found an array; is it reader `json`?");
        }
        let record = record(value, place, records.last())?;
        within(&record, &mut cells)?;
        records.push(record);
    }
    Ok(records)
}

fn array(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let mut value: Value = serde_json::from_str(&text).map_err(|error| {
        let rows = text
            .trim_start()
            .lines()
            .take(2)
            .filter(|line| serde_json::from_str::<Value>(line).is_ok_and(|value| value.is_object()));
        let hint = if rows.count() == 2 {
            "; every line is an object: set name = \"jsonl\" in the manifest's [reader]"
        } else {
            ""
        };
        anyhow!("{}: column {}: no JSON: {}{hint}", source.line(error.line()), error.column(), reason(&error))
    })?;
    for key in spec.key.iter().flat_map(|key| key.split('.')) {
        value = match value {
            Value::Object(mut object) if object.contains_key(key) => object.remove(key).unwrap_or_default(),
            Value::Object(object) => bail!(
                "{}: [reader] key: no key `{key}`{}; there are {}",
                source.name,
                mtl_task::nearest(key, object.keys().take(1000).map(String::as_str)),
                named(&object.keys().take(1000).cloned().collect::<Vec<_>>())
            ),
            other => {
                bail!("{}: [reader] key: `{key}` was looked for in {}, not in an object", source.name, kind(&other))
            }
        };
    }
    let Value::Array(items) = value else {
        bail!("{}: an array of objects was expected, found {}; {}", source.name, kind(&value), array_hint(&value))
    };
    let mut records: Vec<Record> = Vec::with_capacity(items.len());
    let mut cells = 0;
    for (index, item) in items.into_iter().enumerate() {
        let record = record(item, source.record(index + 1), records.last())?;
        within(&record, &mut cells)?;
        records.push(record);
    }
    Ok(records)
}

/// What a file that holds `value` in the place of an array needs.
fn array_hint(value: &Value) -> String {
    const PANDAS: &str = "write one object a row, in pandas by to_json(path, orient=\"records\")";
    let Value::Object(object) = value else { return "is it reader `jsonl`?".into() };
    let inner: Vec<(&String, &Value)> = object.iter().collect();
    let columns = |value: &Value| value.is_object() || value.as_array().is_some_and(|list| list.iter().all(is_scalar));
    let rows = inner
        .iter()
        .find(|(_, value)| value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object)));
    let split = object.get("columns").is_some_and(Value::is_array) && object.get("data").is_some_and(Value::is_array);
    match rows {
        Some((key, _)) => format!("the objects lie under `{key}`: set key = \"{key}\" in the manifest's [reader]"),
        None if split => format!("the names of the columns lie apart from their rows: {PANDAS}"),
        None if inner.len() > 1 && inner.iter().all(|&(_, value)| columns(value)) => {
            format!("it is written column by column: {PANDAS}")
        }
        None => "is it reader `jsonl`, or do the objects lie under a key ([reader] key)?".into(),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// Counts the cells of `record`.
fn within(record: &Record, cells: &mut usize) -> Result<()> {
    let of = |field: &Field| if let Field::Cell(Cell::Many(list)) = field { list.len().max(1) } else { 1 };
    *cells += record.fields.iter().map(of).sum::<usize>();
    if *cells > MOST_CELLS {
        bail!("{}: more than {MOST_CELLS} cells; split the file", record.place);
    }
    Ok(())
}

/// The library's message without its own count of lines, which starts anew on each.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_string())
}

fn record(value: Value, place: Place, before: Option<&Record>) -> Result<Record> {
    let Value::Object(object) = value else { bail!("{place}: an object was expected, found {}", kind(&value)) };
    let (names, fields): (Vec<String>, Vec<Field>) =
        object.into_iter().map(|(name, value)| (name, field(value))).unzip();
    let columns = match before {
        Some(before) if *before.columns == names => before.columns.clone(),
        _ => Arc::new(names),
    };
    Ok(Record { columns, fields, place })
}

fn field(value: Value) -> Field {
    let cell = match value {
        Value::Array(items) => items.into_iter().map(text).collect::<Result<_, _>>().map(Cell::Many),
        other => text(other).map(Cell::Text),
    };
    cell.map_or_else(Field::Other, Field::Cell)
}

fn text(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => Ok(written(&number)),
        other => Err(kind(&other)),
    }
}

/// `number` without a fraction that is zero, and without an exponent where it is whole.
fn written(number: &Number) -> String {
    match number.as_f64() {
        // Up to 2⁵³ every whole number is one of these.
        Some(value) if number.is_f64() && value.fract() == 0. && value.abs() < 9_007_199_254_740_992. => {
            format!("{}", value as i64)
        }
        _ => number.to_string(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
