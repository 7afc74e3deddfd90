//! Records to rows: the columns that the manifest names become texts and a truth.

use anyhow::{Context, Result, bail};
use mtl_task::{Cell, Kind, Label};

use crate::literal;
use crate::manifest::{Columns, DatasetManifest};
use crate::reader::Record;
use crate::reader::border::contained;
use crate::{RawExample, Texts, mail};

/// The row of `record` for a task of `kind`; none if it has no label, as [`Columns::ignore`] says. Tags that are to be
/// ignored stay as they are ([`Columns::is_ignored`]).
///
/// # Errors
/// If a column is missing or does not hold what the task reads.
pub(crate) fn row(record: &Record, manifest: &DatasetManifest, kind: &Kind) -> Result<Option<RawExample>> {
    let (tagging, columns) = (kind.tags_words(), &manifest.columns);
    let Some(label) = label(record, manifest, kind)? else { return Ok(None) };
    let texts = texts_of(record, columns, tagging)?;
    if let (Texts::Tokens(words), Cell::Many(tags)) = (&texts, &label)
        && words.len() != tags.len()
    {
        bail!(
            "{}: column `{}`: {} tags for {} words; every word needs one tag",
            record.place,
            columns.label(tagging),
            tags.len(),
            words.len()
        );
    }
    Ok(Some(RawExample { texts, label, place: record.place.clone() }))
}

impl Columns {
    /// Whether a label cell that holds `value` says that there is no label.
    pub(crate) fn is_ignored(&self, value: &str) -> bool {
        self.ignore.iter().any(|ignored| ignored.trim() == value.trim())
    }
}

/// The text of `record`, or its words for a task that tags them.
///
/// # Errors
/// As [`row`].
pub(crate) fn texts_of(record: &Record, columns: &Columns, tagging: bool) -> Result<Texts> {
    if tagging { words(record, columns) } else { texts(record, columns) }
}

fn texts(record: &Record, columns: &Columns) -> Result<Texts> {
    let form: fn(&str) -> String = match columns.text_form.as_deref() {
        None => str::to_owned,
        Some("mail") => mail::readable,
        Some(other) => bail!("[columns] text_form: unknown `{other}`; there is mail"),
    };
    let text = |column: &str| match record.field(column)? {
        Cell::Text(text) => contained(|| form(text)).with_context(|| format!("{}: column `{column}`", record.place)),
        Cell::Many(list) => bail!(
            "{}: column `{column}`: a text was expected, found a list of {}; a tagging task names it as `tokens`",
            record.place,
            list.len()
        ),
    };
    match (&columns.text, &columns.text_a, &columns.text_b) {
        (None, Some(a), Some(b)) => Ok(Texts::Pair(text(a)?, text(b)?)),
        (text_column, None, None) => Ok(Texts::One(text(text_column.as_deref().unwrap_or("text"))?)),
        _ => bail!("[columns] names either `text`, or both `text_a` and `text_b`"),
    }
}

/// A list of words, or words between spaces. A sentence may well begin and end with a bracket, so that a cell is taken
/// for a list that was printed only where its tags are one, too.
fn words(record: &Record, columns: &Columns) -> Result<Texts> {
    let column = columns.tokens.as_deref().unwrap_or("tokens");
    let printed = matches!(record.field(columns.label(true))?, Cell::Text(tags) if literal::looks_like_list(tags));
    Ok(Texts::Tokens(match record.field(column)? {
        Cell::Text(text) if printed => list(text, record, column)?,
        Cell::Text(text) => text.split_whitespace().map(String::from).collect(),
        Cell::Many(list) => list.clone(),
    }))
}

/// The items of a list that was printed into a cell, or the words of any other text.
fn list(text: &str, record: &Record, column: &str) -> Result<Vec<String>> {
    match literal::list(text) {
        Some(items) => Ok(items),
        None if literal::looks_like_list(text) => bail!(
            "{}: column `{column}`: a list was printed into the cell, and cannot be read back: `{}`; write the rows as \
             JSON Lines, or the items with spaces between them",
            record.place,
            text.chars().take(60).collect::<String>()
        ),
        None => Ok(text.split_whitespace().map(String::from).collect()),
    }
}

/// The truth of `record`, its names replaced; none if the row is to be left out.
fn label(record: &Record, manifest: &DatasetManifest, kind: &Kind) -> Result<Option<Cell>> {
    let columns = &manifest.columns;
    if !kind.labelled {
        return Ok(Some(Cell::Many(Vec::new())));
    }
    if !columns.indicators.is_empty() {
        return indicated(record, kind, columns);
    }
    let column = columns.label(kind.tags_words());
    let Some(cell) = record.nullable(column)? else {
        if columns.is_ignored("") {
            return Ok(None);
        }
        bail!(
            "{}: column `{column}`: null, which is no label; ignore = [\"\"] in the manifest's [columns] leaves such \
             rows out",
            record.place
        );
    };
    let renamed = |name: &str| columns.label_names.get(name.trim()).cloned().unwrap_or_else(|| name.trim().to_string());
    let parts: Vec<String> = match cell {
        Cell::Text(text) if columns.is_ignored(text) => return Ok(None),
        Cell::Text(text) if matches!(kind.truth, Label::Value(_)) => {
            return number(text, manifest.reader.decimal, &renamed).map(Some);
        }
        Cell::Text(text) if matches!(kind.truth, Label::Class(_)) && columns.label_separator.is_none() => {
            return Ok(Some(Cell::Text(renamed(text))));
        }
        Cell::Text(text) => match &columns.label_separator {
            Some(separator) if literal::list(text).is_none() => {
                text.split(separator.as_str()).map(String::from).collect()
            }
            None if matches!(kind.truth, Label::Set(_)) && !literal::looks_like_list(text) => {
                return Ok(Some(Cell::Text(renamed(text))));
            }
            _ => list(text, record, column)?,
        },
        Cell::Many(list) => list.clone(),
    };
    let ignored = parts.iter().filter(|part| columns.is_ignored(part)).count();
    if ignored > 0 && (ignored == parts.len() || !kind.tags_words()) {
        return Ok(None);
    }
    let apart = columns.label_separator.is_some();
    let name = |part: &String| if columns.is_ignored(part) { part.trim().to_string() } else { renamed(part) };
    let names = parts.iter().map(name).filter(|name| !(apart && name.is_empty())).collect();
    Ok(Some(Cell::Many(names)))
}

/// The text of a number with a point for its decimal mark.
fn number(text: &str, decimal: Option<char>, renamed: &dyn Fn(&str) -> String) -> Result<Cell> {
    let text = renamed(text);
    match decimal {
        None | Some('.') => Ok(Cell::Text(text)),
        Some(',') if text.contains('.') => bail!("[reader] decimal = \",\", and `{text}` has a point"),
        Some(',') => Ok(Cell::Text(text.replace(',', "."))),
        Some(other) => bail!("[reader] decimal: `.` or `,` was expected, found `{other}`"),
    }
}

/// The labels whose columns hold 1.
fn indicated(record: &Record, kind: &Kind, columns: &Columns) -> Result<Option<Cell>> {
    if !matches!(kind.truth, Label::Set(_)) {
        bail!("[columns] indicators: only a task of kind multilabel has several labels, this one is `{}`", kind.name);
    }
    if columns.label.is_some() {
        bail!("[columns] names either `label`, or `indicators`: a column for each label");
    }
    let mut names = Vec::new();
    for column in &columns.indicators {
        let cell = record.nullable(column)?;
        let text = match cell {
            None => "",
            Some(Cell::Text(text)) => text.trim(),
            Some(Cell::Many(_)) => "a list",
        };
        if columns.is_ignored(text) {
            return Ok(None);
        }
        match indicator(text) {
            Some(true) => names.push(columns.indicator_name(column)),
            Some(false) => {}
            None => bail!(
                "{}: column `{column}`: an indicator is 0 or 1, found `{text}`; ignore = [{text:?}] in the manifest's \
                 [columns] leaves such rows out",
                record.place
            ),
        }
    }
    Ok(Some(Cell::Many(names)))
}

impl Columns {
    /// The label of an indicator's column.
    pub(crate) fn indicator_name(&self, column: &str) -> String {
        self.label_names.get(column).cloned().unwrap_or_else(|| column.to_string())
    }
}

/// Whether a label holds, where `text` says so.
pub(crate) fn indicator(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "0" | "0.0" | "false" => Some(false),
        "1" | "1.0" | "true" => Some(true),
        _ => None,
    }
}
