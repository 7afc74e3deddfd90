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
    /// By records, in files without lines.
    Record(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.at {
            At::Line(line) => write!(f, "{}:{line}", self.file),
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

impl Record {
    /// The field called `column`.
    ///
    /// # Errors
    /// If there is none: names the nearest, and the columns there are. If it is neither text nor a list of texts.
    pub fn field(&self, column: &str) -> Result<&Cell> {
        let Some(at) = self.columns.iter().position(|known| known == column) else {
            bail!(
                "{}: no column `{column}`{}; there are {}",
                self.place,
                mtl_task::nearest(column, self.columns.iter().map(String::as_str)),
                self.columns.join(", ")
            )
        };
        match &self.fields[at] {
            Field::Cell(cell) => Ok(cell),
            Field::Other(found) => {
                bail!(
                    "{}: column `{column}`: a text, a number or a list of them was expected, found {found}",
                    self.place
                )
            }
        }
    }
}
