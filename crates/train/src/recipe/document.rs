//! A TOML text that can say where its keys stand.

use anyhow::{Result, bail};
use serde_json::Value;
use toml_edit::{Item, TableLike};

use super::names::task_name;

/// A parsed recipe before it is checked.
pub(super) struct Document {
    pub(super) name: String,
    pub(super) value: Value,
    places: toml_edit::Document<String>,
    /// Keys that an override set, as `section.key`.
    pub(super) overridden: Vec<String>,
}

impl Document {
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        let places = match toml_edit::Document::parse(text.to_string()) {
            Ok(places) => places,
            // The parser's message carries line, column and the line itself.
            Err(error) => bail!("{name}: {error}"),
        };
        let table: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => bail!("{name}: {error}"),
        };
        Ok(Self { name: name.to_string(), value: serde_json::to_value(table)?, places, overridden: Vec::new() })
    }

    /// `name:line:column` of a key, or the override that set it; of a section, the overrides within it too; of
    /// a key in a table that was overridden as a whole, that.
    pub(super) fn place(&self, path: &[&str]) -> String {
        let joined = path.join(".");
        if self.overridden.contains(&joined) {
            return format!("--set {joined}");
        }
        // A table that was set as a whole.
        let whole = |key: &&String| joined.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if let Some(key) = self.overridden.iter().rev().find(whole) {
            return format!("--set {key}");
        }
        let within = self.overridden.iter().filter(|key| key.strip_prefix(&joined).is_some_and(|k| k.starts_with('.')));
        let within: Vec<String> = within.map(|key| format!("--set {key}")).collect();
        match (self.offset(path), within.is_empty()) {
            (None, true) => self.name.clone(),
            (None, false) => within.join(", "),
            (Some(start), true) => self.position(start),
            (Some(start), false) => format!("{} with {}", self.position(start), within.join(", ")),
        }
    }

    fn position(&self, start: usize) -> String {
        let before = self.places.raw().get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        format!("{}:{line}:{column}", self.name)
    }

    fn offset(&self, path: &[&str]) -> Option<usize> {
        // The settings of a task may stand in a table of `tasks` or [[task]].
        if let ["task", name, rest @ ..] = path
            && let Some((table, start)) = self.table_of(name)
        {
            return offset_in(table, rest).or(start);
        }
        offset_in(self.places.as_item().as_table_like()?, path)
    }

    /// The table whose `name` says that it is of the task called `name`, and where it stands.
    fn table_of(&self, name: &str) -> Option<(&dyn TableLike, Option<usize>)> {
        let document = self.places.as_item().as_table_like()?;
        let listed = document.get("tasks").and_then(Item::as_array).into_iter().flat_map(|items| items.iter());
        let inline = document.get("task").and_then(Item::as_array).into_iter().flat_map(|items| items.iter());
        let inline =
            listed.chain(inline).filter_map(|value| value.as_inline_table().map(|table| table as &dyn TableLike));
        let tables = document.get("task").and_then(Item::as_array_of_tables).into_iter().flat_map(|items| items.iter());
        let mut all = inline.chain(tables.map(|table| table as &dyn TableLike));
        let named =
            |table: &&dyn TableLike| table.get("name").and_then(Item::as_str).map(task_name).as_deref() == Some(name);
        let table = all.find(named)?;
        Some((table, offset_in(table, &["name"])))
    }
}

fn offset_in(table: &dyn TableLike, path: &[&str]) -> Option<usize> {
    let (mut table, mut start) = (Some(table), None);
    for name in path {
        let (key, next) = table?.get_key_value(name)?;
        start = key.span().or_else(|| next.span()).map(|span| span.start).or(start);
        table = next.as_table_like();
    }
    start
}

/// Puts `value` into `object`, if it is one.
pub(super) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_string(), value);
    }
}

/// A JSON value as TOML; nulls, which TOML does not have, are left out.
pub(super) fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => toml::Value::Integer(whole),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(to_toml).collect()),
        Value::Object(fields) => {
            toml::Value::Table(fields.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?))).collect())
        }
    })
}
