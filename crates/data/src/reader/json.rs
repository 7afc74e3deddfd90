//! JSON: one object a line, or one array of objects.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use mtl_task::Cell;
use serde_json::Value;

use super::record::{Field, Place, Record};
use super::{Reader, Source};
use crate::manifest::ReaderSpec;

pub(super) const JSONL: Reader =
    Reader { name: "jsonl", about: "one JSON object a line", endings: &["jsonl", "ndjson"], read: lines };

pub(super) const JSON: Reader =
    Reader { name: "json", about: "one JSON array of objects", endings: &["json"], read: array };

fn lines(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let mut records: Vec<Record> = Vec::new();
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
        records.push(record);
    }
    Ok(records)
}

fn array(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        anyhow!("{}: column {}: no JSON: {}", source.line(error.line()), error.column(), reason(&error))
    })?;
    let Value::Array(items) = value else {
        bail!("{}: an array of objects was expected, found {}; is it reader `jsonl`?", source.name, kind(&value))
    };
    let mut records: Vec<Record> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let record = record(item, source.record(index + 1), records.last())?;
        records.push(record);
    }
    Ok(records)
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
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(kind(&other)),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
