//! How a delimited file is written: which character delimits its columns, and whether a row repeats their names.

use anyhow::{Result, bail};

use super::{ReaderSpec, Source};

/// What delimits columns in files that call themselves CSV or TSV.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// So many lines are compared.
const LINES: usize = 50;

/// What columns of a header are often called, in lower case.
const NAMES: &str = "answer body category class comment content document hypothesis id idx index intent label labels \
                     message premise query question rating review s1 s2 score sentence sentence1 sentence2 sentiment \
                     split tag tags target text text_a text_b title tokens topic tweet words";

/// What delimits the columns of `text`: what the manifest says; else `usual`, unless the first line has none of it, or
/// other lines disagree with the first, and another delimiter fits all lines.
///
/// # Errors
/// If the manifest's delimiter is none.
pub(super) fn delimiter(source: &Source, spec: &ReaderSpec, text: &str, usual: char) -> Result<char> {
    if let Some(set) = spec.delimiter {
        if !set.is_ascii() || "\"\r\n\0".contains(set) {
            bail!(
                "[reader] delimiter: one ASCII character was expected, neither a quote nor a line's end: found {set:?}"
            );
        }
        return Ok(set);
    }
    let lines = rows(text, !spec.no_quotes);
    let columns = spec.header.len();
    // Columns by the first line, and whether all lines have as many.
    let fit = |mark: char| {
        let first = lines.first().map_or(0, |line| marks(line, mark, !spec.no_quotes));
        let plausible = first > 0 && (columns == 0 || first + 1 == columns);
        let all = lines.iter().all(|line| marks(line, mark, !spec.no_quotes) == first);
        (plausible, all)
    };
    let (has, agree) = fit(usual);
    if has && (agree || lines.len() < 3) {
        return Ok(usual);
    }
    let most = |mark: char| {
        let first = lines.first().map_or(0, |line| marks(line, mark, !spec.no_quotes));
        2 * lines.iter().filter(|line| marks(line, mark, !spec.no_quotes) == first).count() > lines.len()
    };
    let other = DELIMITERS.into_iter().filter(|&mark| mark != usual).find(|&mark| {
        let (plausible, all) = fit(mark);
        plausible && (all || (!has && most(mark)))
    });
    let Some(other) = other else { return Ok(usual) };
    source.note(format!(
        "{}: columns are delimited by {other:?}, as the lines show; delimiter = {:?} in the manifest's [reader] says so",
        source.name,
        other.to_string()
    ));
    Ok(other)
}

/// The first rows of `text`: its lines, those together that a quote opens and closes on.
fn rows(text: &str, quotes: bool) -> Vec<&str> {
    let mut rows = Vec::new();
    let (mut rest, mut end, mut open) = (text, 0, false);
    for line in text.split_inclusive('\n') {
        end += line.len();
        open ^= quotes && line.matches('"').count() % 2 == 1;
        if open {
            continue;
        }
        let (row, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let row = row.trim_end_matches(['\r', '\n']);
        (rest, end) = (after, 0);
        if !row.trim().is_empty() {
            rows.push(row);
        }
        if rows.len() == LINES {
            break;
        }
    }
    rows
}

/// How often `mark` stands in `line` outside quotes.
fn marks(line: &str, mark: char, quotes: bool) -> usize {
    let mut quoted = false;
    line.chars()
        .filter(|&letter| {
            quoted ^= quotes && letter == '"';
            letter == mark && !quoted
        })
        .count()
}

/// Whether a row of `cells` is the header once more: the columns' names, or, where the manifest names the columns and
/// the row is the file's first, what columns are often called.
pub(super) fn is_header<'a>(
    cells: impl Iterator<Item = &'a str> + Clone,
    columns: &[String],
    may_be_other: bool,
) -> bool {
    let same = cells.clone().zip(columns).all(|(cell, name)| cell.trim().eq_ignore_ascii_case(name.trim()));
    let usual = |cell: &str| {
        let cell = cell.trim();
        !cell.is_empty() && NAMES.split_whitespace().any(|name| name.eq_ignore_ascii_case(cell))
    };
    same || (may_be_other && columns.len() > 1 && { cells }.all(usual))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn found(text: &str, usual: char, header: &[&str]) -> char {
        let spec = ReaderSpec { header: header.iter().map(ToString::to_string).collect(), ..ReaderSpec::default() };
        delimiter(&Source::new(Path::new("rows")), &spec, text, usual).expect("a delimiter")
    }

    #[test]
    fn another_delimiter_is_taken_where_the_usual_one_cannot_be() {
        assert_eq!(found("body;team\na, b;x\nc;y\n", ',', &[]), ';');
        assert_eq!(found("\"body\"|\"team\"\n\"a|b\"|x\n", ',', &[]), '|');
        assert_eq!(found("body;team\na, b;x\n\"c\nd;\";y\n", ',', &[]), ';');
        assert_eq!(found("body,team\na;b,x\n", ',', &[]), ',');
        assert_eq!(found("body,team\na\tb,x\n", '\t', &[]), ',');
        assert_eq!(found("hello, you;x\nbye;y\nso, so, so;x\n", ',', &["body", "team"]), ';');
        assert_eq!(found("body\nalone\n", ',', &[]), ',');
        // Rows that are wrong under the usual one and under every other stay with the usual one.
        assert_eq!(found("body,team\na,b,c\nd\n", ',', &[]), ',');
    }

    #[test]
    fn a_header_is_known_when_it_comes_again() {
        let columns = ["body".to_string(), "team".to_string()];
        assert!(is_header(["Body ", "TEAM"].into_iter(), &columns, false));
        assert!(is_header(["text", "label"].into_iter(), &columns, true));
        assert!(!is_header(["text", "label"].into_iter(), &columns, false));
        assert!(!is_header(["body", "x"].into_iter(), &columns, true));
    }
}
