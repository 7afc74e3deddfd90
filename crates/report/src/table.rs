//! A table as the page and the Markdown show it: cells of text, with the number that a column sorts by.

use serde::Serialize;

use crate::numbers::{self, NOTHING};

/// A table with what has to be said about it.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// What the page's links call it.
    pub(crate) id: &'static str,
    /// Its caption.
    pub(crate) title: String,
    /// How to read it: units, directions, what the marks mean.
    pub(crate) note: String,
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// The rows, each as long as the columns.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column's head.
#[derive(Debug, Serialize)]
pub(crate) struct Column {
    /// Its words.
    pub(crate) name: String,
    /// Whether its cells are numbers, which stand to the right.
    pub(crate) number: bool,
}

/// One cell.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Cell {
    /// What is shown.
    pub(crate) text: String,
    /// What a column of numbers sorts by; a cell without one sorts last.
    pub(crate) sort: Option<f64>,
    /// Whether it is the best of its column.
    pub(crate) strong: bool,
}

impl Table {
    /// A table without rows; a column's name that starts with `#` is one of numbers.
    pub(crate) fn new(id: &'static str, title: impl Into<String>, note: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| Column::new(name)).collect();
        Self { id, title: title.into(), note: note.into(), columns, rows: Vec::new() }
    }
}

impl Column {
    /// A column; a `#` before its name makes it one of numbers.
    pub(crate) fn new(name: &str) -> Self {
        let number = name.starts_with('#');
        Self { name: name.strip_prefix('#').unwrap_or(name).to_string(), number }
    }

    /// A column of numbers, whatever its name starts with.
    pub(crate) fn of_numbers(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: true }
    }
}

impl Cell {
    /// Words.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number in words of its own.
    pub(crate) fn of(value: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), sort: value.is_finite().then_some(value), strong: false }
    }

    /// A number if there is one.
    pub(crate) fn maybe(value: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        value.map_or_else(Self::nothing, |value| Self::of(value, show(value)))
    }

    /// A count.
    pub(crate) fn count(count: impl TryInto<u64>) -> Self {
        let count = count.try_into().unwrap_or(u64::MAX);
        Self::of(count as f64, numbers::grouped(count))
    }

    /// Nothing to show.
    pub(crate) fn nothing() -> Self {
        Self::text(NOTHING)
    }

    /// The same, marked as the best if `strong`.
    pub(crate) fn strong_if(self, strong: bool) -> Self {
        Self { strong, ..self }
    }
}
