//! CoNLL columns: a word a line, its fields between tabs or spaces, sentences between blank lines.
//!
//! Columns are called as `header` says, or `0`, `1`, … A record is a sentence; each of its fields is a list. Passed
//! over are `-DOCSTART-` lines and, in files with tabs, comment lines (`#`) and the multiword and empty tokens of
//! Universal Dependencies (`3-4`, `5.1`).

use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_task::Cell;

use super::record::{Field, Record};
use super::{Reader, Source};
use crate::manifest::ReaderSpec;

pub(super) const READER: Reader = Reader {
    name: "conll",
    about: "a word a line in columns, a blank line between sentences",
    endings: &["bio", "conll", "conllu", "iob"],
    read,
};

fn read(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let tabs = text.contains('\t');
    let mut columns: Option<Arc<Vec<String>>> = (!spec.header.is_empty()).then(|| Arc::new(spec.header.clone()));
    let mut records = Vec::new();
    let mut sentence: Vec<Vec<String>> = Vec::new();
    let mut first = 1;
    for (index, line) in text.lines().chain([""]).enumerate() {
        if line.trim().is_empty() {
            if let (false, Some(columns)) = (sentence.is_empty(), &columns) {
                let fields =
                    std::mem::take(&mut sentence).into_iter().map(|list| Field::Cell(Cell::Many(list))).collect();
                records.push(Record { columns: columns.clone(), fields, place: source.line(first) });
            }
            continue;
        }
        let fields: Vec<&str> =
            if tabs { line.split('\t').map(str::trim).collect() } else { line.split_whitespace().collect() };
        if line.starts_with("-DOCSTART-") || (tabs && passed_over(line, fields[0])) {
            continue;
        }
        let columns =
            columns.get_or_insert_with(|| Arc::new((0..fields.len()).map(|column| column.to_string()).collect()));
        if fields.len() != columns.len() {
            bail!(
                "{}: {} fields, expected {} ({}): every word needs all of its columns, its tag among them",
                source.line(index + 1),
                fields.len(),
                columns.len(),
                columns.join(", ")
            );
        }
        if sentence.is_empty() {
            first = index + 1;
            sentence = vec![Vec::new(); columns.len()];
        }
        sentence.iter_mut().zip(fields).for_each(|(list, field)| list.push(field.to_string()));
    }
    Ok(records)
}

fn passed_over(line: &str, number: &str) -> bool {
    let range = number.split_once(['-', '.']);
    line.starts_with('#')
        || range.is_some_and(|(a, b)| {
            [a, b].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        })
}
