//! CoNLL columns: a word a line, its fields between tabs or spaces, sentences between blank lines.
//!
//! Columns are called as `header` says, or `0`, `1`, … A record is a sentence; each of its fields is a list. Columns are
//! split at tabs where most lines have one, at spaces and tabs otherwise, and at no other white space: a no-break space
//! is part of its word. Passed over are `-DOCSTART-` lines; comments, which begin with `#`, stand before a sentence, and
//! have not the columns of a word; and, in files of ten columns (CoNLL-U), the multiword and empty tokens of Universal
//! Dependencies (`3-4`, `5.1`).

use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_task::Cell;

use super::record::{At, Field, Record, named};
use super::source::MOST_CELLS;
use super::{Reader, Source};
use crate::manifest::ReaderSpec;

pub(super) const READER: Reader = Reader {
    name: "conll",
    about: "a word a line in columns, a blank line between sentences",
    endings: &["bio", "conll", "conllu", "iob"],
    read,
};

/// Columns of a CoNLL-U file (<https://universaldependencies.org/format.html>).
const UNIVERSAL: usize = 10;

const BLANKS: [char; 3] = [' ', '\t', '\r'];

fn read(source: &Source, spec: &ReaderSpec) -> Result<Vec<Record>> {
    let text = source.text(spec)?;
    let tabs = tabs(&text);
    let mut columns: Option<Arc<Vec<String>>> = (!spec.header.is_empty()).then(|| Arc::new(spec.header.clone()));
    let mut records = Vec::new();
    let mut sentence: Vec<Vec<String>> = Vec::new();
    // Whether no line was passed over since the sentence began.
    let (mut first, mut cells, mut whole) = (1, 0, true);
    let mut comments: Vec<usize> = Vec::new();
    for (index, line) in text.lines().chain([""]).enumerate() {
        if blank(line) {
            if let (false, Some(columns)) = (sentence.is_empty(), &columns) {
                let fields =
                    std::mem::take(&mut sentence).into_iter().map(|list| Field::Cell(Cell::Many(list))).collect();
                let mut place = source.line(first);
                if whole {
                    place.at = At::Words(first);
                }
                records.push(Record { columns: columns.clone(), fields, place });
            }
            continue;
        }
        if is_document(line) {
            whole = false;
            continue;
        }
        let fields = split(line, tabs);
        let columns = columns.get_or_insert_with(|| {
            let words = text.lines().skip(index).filter(|line| !blank(line) && !is_document(line));
            let count =
                words.map(|line| (line.starts_with('#'), split(line, tabs).len())).min_by_key(|(mark, _)| *mark);
            Arc::new((0..count.map_or(fields.len(), |(_, count)| count)).map(|column| column.to_string()).collect())
        });
        if sentence.is_empty() && fields.len() != columns.len() && is_comment(line, tabs, columns.len()) {
            comments.push(index + 1);
            continue;
        }
        if fields.len() != columns.len() {
            bail!(
                "{}: {}, expected {} ({}){}",
                source.line(index + 1),
                count(fields.len()),
                columns.len(),
                named(columns),
                reason(line, tabs)
            );
        }
        if columns.len() == UNIVERSAL && fields.first().is_some_and(|number| is_range(number)) {
            whole = false;
            continue;
        }
        if sentence.is_empty() {
            (first, whole) = (index + 1, true);
            sentence = vec![Vec::new(); columns.len()];
        }
        cells += columns.len();
        if cells > MOST_CELLS {
            bail!("{}: more than {MOST_CELLS} cells; split the file", source.line(index + 1));
        }
        sentence.iter_mut().zip(fields).for_each(|(list, field)| list.push(field.to_string()));
    }
    if let (Some(first), true) = (comments.first(), columns.is_some_and(|columns| columns.len() != UNIVERSAL)) {
        source.note(format!(
            "{}: {} comment {} passed over (the first is here)",
            source.line(*first),
            comments.len(),
            if comments.len() == 1 { "line is" } else { "lines are" }
        ));
    }
    Ok(records)
}

fn count(fields: usize) -> String {
    if fields == 1 { "1 field".into() } else { format!("{fields} fields") }
}

/// Whether the columns of `text` are delimited by tabs: most of its lines have one.
fn tabs(text: &str) -> bool {
    let lines = text.lines().filter(|line| !blank(line) && !line.starts_with('#') && !is_document(line));
    let (with, without) = lines.fold((0usize, 0usize), |(with, without), line| {
        let has = usize::from(line.trim_matches(BLANKS).contains('\t'));
        (with + has, without + 1 - has)
    });
    with > 0 && with >= without
}

fn split(line: &str, tabs: bool) -> Vec<&str> {
    if tabs {
        line.split('\t').map(|field| field.trim_matches(BLANKS)).collect()
    } else {
        line.split(BLANKS).filter(|field| !field.is_empty()).collect()
    }
}

fn blank(line: &str) -> bool {
    line.trim_matches(BLANKS).is_empty()
}

fn is_document(line: &str) -> bool {
    line.split(BLANKS).next() == Some("-DOCSTART-")
}

/// Whether `line`, which has not the columns of a word, is a comment. A lone `#word` rather lacks its tag.
fn is_comment(line: &str, tabs: bool, columns: usize) -> bool {
    line.strip_prefix('#').is_some_and(|rest| {
        let rest = rest.trim_end_matches(BLANKS);
        columns == UNIVERSAL
            || rest.is_empty()
            || rest.starts_with(' ')
            || (tabs && !rest.contains('\t') && rest.contains(' '))
    })
}

/// Numbers of multiword and empty tokens.
fn is_range(number: &str) -> bool {
    number.split_once(['-', '.']).is_some_and(|(a, b)| {
        [a, b].iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Why `line` has not the columns of the others, as far as can be told.
fn reason(line: &str, tabs: bool) -> &'static str {
    match (tabs, line.contains('\t')) {
        _ if line.starts_with('#') => {
            ": a comment begins with `# `, stands before a sentence and never within one; a word needs all of its columns"
        }
        (true, false) => ": most lines of the file have tabs between their columns, and this line has none",
        (false, true) => {
            ": most lines of the file have spaces between their columns, and this line has a tab; both were taken for \
             ends of a column"
        }
        _ => ": every word needs all of its columns, its tag among them",
    }
}
