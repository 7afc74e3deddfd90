//! Delimited text: what is read is what Python's csv module reads, and a stray quote does not swallow rows unseen.

use std::time::{Duration, Instant};

use mtl_data::manifest::ReaderSpec;
use mtl_data::reader::{self, Field, Record};
use mtl_task::{Cell, Registry};

fn read(name: &str, text: &str, spec: &ReaderSpec) -> Result<Vec<Record>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("written");
    reader::read(&Registry::default(), &path, spec).map_err(|error| format!("{error:#}"))
}

/// Fields of every row, after the place of each.
fn rows(name: &str, text: &str, spec: &ReaderSpec) -> Vec<(String, Vec<String>)> {
    let text_of = |field: &Field| match field {
        Field::Cell(Cell::Text(text)) => text.clone(),
        other => panic!("{other:?} in delimited text"),
    };
    let records = read(name, text, spec).expect("read");
    records.iter().map(|record| (record.place.to_string(), record.fields.iter().map(text_of).collect())).collect()
}

fn row(place: &str, fields: &[&str]) -> (String, Vec<String>) {
    (place.to_string(), fields.iter().map(ToString::to_string).collect())
}

/// `csv.reader(io.StringIO(text, newline=""))` and `csv.reader(…, delimiter="\t", quoting=csv.QUOTE_NONE)` of Python 3.
#[test]
fn rows_are_read_as_other_readers_do() {
    let plain = ReaderSpec::default();
    let quoted = "\u{feff}text , label\n\"a, \"\"b\"\"\nc\",x\n\n\n é \"q\" ,\"\"\r\n\r\n\"last\",y\r\n\"\",";
    let expected = [
        row("rows.csv:2", &["a, \"b\"\nc", "x"]),
        row("rows.csv:6", &[" é \"q\" ", ""]),
        row("rows.csv:8", &["last", "y"]),
        row("rows.csv:9", &["", ""]),
    ];
    assert_eq!(rows("rows.csv", quoted, &plain), expected);
    assert_eq!(*read("rows.csv", quoted, &plain).expect("read")[0].columns, ["text", "label"]);

    let literal = ReaderSpec { no_quotes: true, ..ReaderSpec::default() };
    let expected = [row("rows.tsv:2", &["\"open", "x"]), row("rows.tsv:3", &["\"a\" b", "\"\""])];
    assert_eq!(rows("rows.tsv", "text\tlabel\n\"open\tx\n\"a\" b\t\"\"", &literal), expected);
}

/// A carriage return alone is no line's end (the crate `csv` would end the row there by default).
#[test]
fn carriage_returns_within_a_text_are_kept() {
    let expected = [row("rows.csv:2", &["a\rb", "x"]), row("rows.csv:3", &["c\r", "y"])];
    assert_eq!(rows("rows.csv", "text,label\na\rb,x\n\"c\r\",y\r", &ReaderSpec::default()), expected);
}

#[test]
fn lines_are_skipped_after_the_header_whatever_is_in_them() {
    let spec = ReaderSpec { skip: 2, ..ReaderSpec::default() };
    let expected = [row("rows.csv:4", &["a", "x"]), row("rows.csv:6", &["b", "y"])];
    assert_eq!(rows("rows.csv", "text,label\n\"string,\nclass\na,x\n\nb,y\n", &spec), expected);
    let spec = ReaderSpec { header: vec!["text".into(), "label".into()], skip: 1, ..ReaderSpec::default() };
    assert_eq!(rows("rows.csv", "anything\na,x\n", &spec), [row("rows.csv:2", &["a", "x"])]);
    assert!(read("rows.csv", "anything", &spec).expect_err("nothing left").contains("no record"));
}

/// A quote that stands for inches, and the next one 30 rows later.
#[test]
fn a_quote_that_swallows_rows_is_refused_where_it_was_opened() {
    let swallowing = |lines: usize| {
        let rows: String = (0..lines - 1).map(|row| format!("text {row},x\n")).collect();
        format!("text,label\nfirst,x\n\"5 inch,y\n{rows}end\",y\nlast,x\n")
    };
    let error = read("rows.csv", &swallowing(30), &ReaderSpec::default()).expect_err("a swallowed row");
    for part in ["rows.csv:3:", "closed 30 lines later", "no_quotes = true", "quoted_lines = 31"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    assert!(read("rows.csv", &swallowing(20), &ReaderSpec::default()).is_err());
    assert_eq!(rows("rows.csv", &swallowing(19), &ReaderSpec::default()).len(), 3);
    let allowed = ReaderSpec { quoted_lines: Some(31), ..ReaderSpec::default() };
    assert_eq!(rows("rows.csv", &swallowing(30), &allowed).len(), 3);
    let literal = ReaderSpec { no_quotes: true, ..ReaderSpec::default() };
    assert_eq!(rows("rows.csv", &swallowing(30), &literal).len(), 33);
}

/// A quote that stands for inches, and the next one a few rows later: every line of the text is a row of the table.
#[test]
fn rows_within_a_quoted_text_are_noticed_however_few() {
    let plain = ReaderSpec::default();
    let text = "text,label\nfirst,tv\n\"5 inch,tv\nsecond,radio\nof 13\",tv\nlast,radio\n";
    let error = read("rows.csv", text, &plain).expect_err("a swallowed row");
    for part in ["rows.csv:3:", "closed 2 lines later", "rows of their own", "no_quotes = true", "quoted_lines = 3"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
    let allowed = ReaderSpec { quoted_lines: Some(3), ..ReaderSpec::default() };
    assert_eq!(rows("rows.csv", text, &allowed).len(), 3);
    // The quote in the last column, and between others.
    let text = "label,text\ntv,first\nradio,\"5 inch\ntv,13\"\nradio,last\n";
    assert!(read("rows.csv", text, &plain).expect_err("a swallowed row").contains("rows.csv:3:"));
    let text = "id,text,label\n1,first,tv\n2,\"5 inch,tv\n3,of 13\",radio\n4,last,radio\n";
    assert!(read("rows.csv", text, &plain).expect_err("a swallowed row").contains("rows.csv:3:"));
    // Letters have commas, too.
    let letter = "text,label\n\"Dear all,\nI am well, really\nyours, a\",tv\nb,radio\n\"Dear, you\nbye\",radio\n";
    assert_eq!(rows("rows.csv", letter, &plain).len(), 3);
}

#[test]
fn delimiters_are_recognised_or_set() {
    let expected = [row("rows.csv:2", &["a, b", "x"]), row("rows.csv:3", &["c", "y"])];
    let text = "text;label\na, b;x\nc;y\n";
    assert_eq!(rows("rows.csv", text, &ReaderSpec::default()), expected);
    let set = |delimiter| ReaderSpec { delimiter: Some(delimiter), ..ReaderSpec::default() };
    assert_eq!(rows("rows.csv", text, &set(';')), expected);
    assert_eq!(rows("rows.csv", &text.replace(';', "\u{1}"), &set('\u{1}')), expected);
    assert_eq!(rows("rows.csv", &text.replace('\n', "\r"), &ReaderSpec::default()), expected);
    for wrong in ['"', '\n', 'é'] {
        let error = read("rows.csv", text, &set(wrong)).expect_err("no delimiter");
        assert!(error.contains("[reader] delimiter"), "{error}");
    }
    let error = read("rows.csv", "text#label\na#x\n", &ReaderSpec::default()).expect("one column");
    let error = error[0].field("text").expect_err("no such column").to_string();
    assert!(error.contains("no column `text`"), "{error}");
    let error = read("rows.csv", "text;label,\na;x,\n", &ReaderSpec::default()).expect("two columns");
    assert_eq!(*error[0].columns, ["text;label", ""]);
}

#[test]
fn wide_files_take_time_by_their_size() {
    const COLUMNS: usize = 100_000;
    let line = |of: &dyn Fn(usize) -> String| (0..COLUMNS).map(of).collect::<Vec<_>>().join(",");
    let header = line(&|column| format!("column {column}"));
    let text = format!("{header}\n{}\n{}\n", line(&|_| "\"a\"".into()), line(&|column| column.to_string()));
    let start = Instant::now();
    assert_eq!(rows("rows.csv", &text, &ReaderSpec::default())[1].1[COLUMNS - 1], "99999");
    let error = read("rows.csv", &format!("{header}\na,b\n"), &ReaderSpec::default()).expect_err("too few");
    assert!(error.contains("2 fields, expected 100000") && error.len() < 1000, "{} bytes", error.len());
    let twice = read("rows.csv", &format!("{header},column 7\n"), &ReaderSpec::default()).expect_err("a name twice");
    assert!(twice.contains("two columns are called `column 7`"), "{twice}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
