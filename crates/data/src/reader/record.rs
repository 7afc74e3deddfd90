//! One record of a file, and where it stands.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_task::Cell;

/// Where a record stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: Arc<str>,
    /// Its first line there, or its number.
    pub at: At,
}

/// The way a file's records are counted, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// By lines.
    Line(usize),
    /// By lines, each of which holds a word of the record.
    Words(usize),
    /// By records, in files without lines.
    Record(usize),
}

impl Place {
    /// Where the record's word at `index`, from 0, stands.
    pub fn of_word(&self, index: usize) -> String {
        match self.at {
            At::Words(first) => format!("{}:{}", self.file, first + index),
            At::Line(_) | At::Record(_) => format!("{self}, word {}", index + 1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.at {
            At::Line(line) | At::Words(line) => write!(f, "{}:{line}", self.file),
            At::Record(record) => write!(f, "{}: record {record}", self.file),
        }
    }
}

/// One field. A record may hold more than a dataset wants, so what cannot be used is no error until it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A text or a list of texts.
    Cell(Cell),
    /// Something else: what it is, in words.
    Other(&'static str),
}

/// What a field without a value is ([`Field::Other`]).
pub(crate) const NULL: &str = "null";

/// One record of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its columns, shared by the records of a file where they can be.
    pub columns: Arc<Vec<String>>,
    /// Its fields, in the order of `columns`.
    pub fields: Vec<Field>,
    /// Where it stands.
    pub place: Place,
}

/// So many columns are named in a message, and so many are looked through for a similar name.
const NAMED: usize = 12;
const MOST_COMPARED: usize = 1000;

/// `columns` for a message: the first of them, and how many there are.
pub(super) fn named(columns: &[String]) -> String {
    let short = |name: &String| if name.chars().count() > 60 { name.chars().take(60).collect() } else { name.clone() };
    let first = columns.iter().take(NAMED).map(short).collect::<Vec<String>>().join(", ");
    if columns.len() > NAMED { format!("{first}, … ({} in all)", columns.len()) } else { first }
}

/// A single column whose name holds what delimits columns elsewhere.
fn delimiter_hint(columns: &[String]) -> String {
    let [only] = columns else { return String::new() };
    [';', '\t', '|', ','].into_iter().find(|&mark| only.contains(mark)).map_or_else(String::new, |mark| {
        format!(
            "; if columns are delimited by {mark:?} in this file, set delimiter = {:?} in [reader]",
            mark.to_string()
        )
    })
}

impl Record {
    /// The field called `column`.
    ///
    /// # Errors
    /// If there is none: names the nearest, and the columns there are. If it is neither text nor a list of texts.
    pub fn field(&self, column: &str) -> Result<&Cell> {
        let Some(at) = self.columns.iter().position(|known| known == column) else {
            bail!(
                "{}: no column `{column}`{}; there are {}{}",
                self.place,
                mtl_task::nearest(column, self.columns.iter().take(MOST_COMPARED).map(String::as_str)),
                named(&self.columns),
                delimiter_hint(&self.columns)
            )
        };
        let found = match self.fields.get(at) {
            Some(Field::Cell(cell)) => return Ok(cell),
            Some(Field::Other(found)) => found,
            None => NULL,
        };
        bail!("{}: column `{column}`: a text, a number or a list of them was expected, found {found}", self.place)
    }

    /// As [`Record::field`]; nothing where its value is null.
    pub(crate) fn nullable(&self, column: &str) -> Result<Option<&Cell>> {
        let null = |at: usize| self.fields.get(at) == Some(&Field::Other(NULL));
        if self.columns.iter().position(|known| known == column).is_some_and(null) {
            return Ok(None);
        }
        self.field(column).map(Some)
    }
}
