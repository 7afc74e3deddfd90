//! Files that are not what their manifest says: each is refused with file, place, what was found and what would be
//! right, and no bytes make a reader panic.

use std::path::Path;

use mtl_data::manifest::{DatasetManifest, ReaderSpec};
use mtl_data::reader;
use mtl_data::{DataRegistries, LoadOptions, Tokenizer, load};
use mtl_task::Registry;

fn tokenizer(folder: &Path) -> Tokenizer {
    std::fs::write(folder.join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n").expect("written");
    Tokenizer::read(folder).expect("a tokenizer")
}

/// What loading `files` by the manifest `tables` is refused with.
fn refusal(tables: &str, files: &[(&str, &[u8])]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.path().join(name), bytes).expect("written"));
    let manifest: DatasetManifest =
        toml::from_str(&format!("about = \"a case\"\nlicence = \"none\"\n{tables}")).expect("a manifest");
    let loaded = load(
        &DataRegistries::default(),
        "case",
        &manifest,
        folder.path(),
        &tokenizer(folder.path()),
        &LoadOptions::default(),
    );
    let error = format!("{:#}", loaded.err().unwrap_or_else(|| panic!("{tables} was loaded")));
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// A task of `kind` over the file `file`, with further lines of `[task]`.
fn all(kind: &str, file: &str, more: &str) -> String {
    format!("[task]\nkind = \"{kind}\"\n{more}\n[splits]\nall = [\"{file}\"]\n")
}

fn refused(kind: &str, file: &str, bytes: &[u8], more: &str, named: &[&str]) {
    let error = refusal(&all(kind, file, more), &[(file, bytes)]);
    for part in [&[file], named].concat() {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
}

fn classes(file: &str, bytes: &[u8], named: &[&str]) {
    refused("classification", file, bytes, "", named);
}

#[test]
fn a_file_that_is_no_data_is_refused_at_its_first_byte() {
    classes("rows.csv", b"", &["empty", "fetch it again"]);
    classes("rows.jsonl", b" \n\n", &["empty"]);
    classes("rows.csv", b"text,label\n", &["no record", "header"]);
    for name in ["rows.csv", "rows.jsonl", "rows.json", "rows.conll", "rows.parquet"] {
        classes(name, b"\n<!DOCTYPE html><html>Sign in</html>", &["byte 0", "HTML page", "check endpoint"]);
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n";
        classes(name, pointer, &["byte 0", "git-LFS pointer", "git lfs pull"]);
    }
    classes("rows.parquet", b"text,label\na,b\n", &["no Parquet file", "PAR1", "reader"]);
    classes("rows.parquet", b"PAR1 and then nothing", &["PAR1", "cut off"]);
    classes("rows.csv", b"PAR1\x15\x04\x00\x15", &["rows.csv:1", "byte 6", "NUL"]);
    classes("rows.doc", b"text,label\n", &["no reader", "`.doc`", "[reader]", "jsonl"]);
}

#[test]
fn a_missing_file_says_where_it_was_looked_for() {
    let error = refusal(&all("classification", "rows.csv", ""), &[]);
    assert!(error.contains("rows.csv: no such file") && error.contains("[[source]]"), "{error}");
}

#[test]
fn text_in_another_encoding_is_refused_with_its_byte() {
    classes(
        "rows.csv",
        b"text,label\ncaf\xe9,x\n",
        &["rows.csv:2", "byte 14", "0xe9", "encoding = \"windows-1252\" reads `café,x`"],
    );
    classes("rows.csv", b"text,label\na,x\nb\0,y\n", &["rows.csv:3", "byte 16", "NUL", "UTF-16"]);
    let error = refusal(
        &format!("{}[reader]\nencoding = \"utf-7\"\n", all("classification", "rows.csv", "")),
        &[("rows.csv", b"text,label\na,x\n")],
    );
    assert!(error.contains("unknown `utf-7`") && error.contains("utf-8, utf-16, windows-1252"), "{error}");
}

#[test]
fn delimited_rows_have_the_columns_of_their_header() {
    classes("rows.csv", b"txt,label\na,x\n", &["rows.csv:2", "no column `text`", "did you mean `txt`?", "txt, label"]);
    classes("rows.csv", b"text,labels\na,x\n", &["rows.csv:2", "no column `label`", "did you mean `labels`?"]);
    classes(
        "rows.csv",
        b"text,label\na,x\nb,c,x\n",
        &["rows.csv:3", "3 fields, expected 2 (text, label)", "delimiter"],
    );
    classes("rows.tsv", b"text\tlabel\na\n", &["rows.tsv:2", "1 field, expected 2"]);
    classes("rows.csv", b"text,label\n\"a,x\nb,y\n", &["rows.csv:2", "never closed", "no_quotes = true"]);
    classes("rows.csv", b"text,label\n\"a\" b,x\n", &["rows.csv:2", "goes on after its closing quote"]);
    classes("rows.csv", b"text,label\na,x\n\"b\nc\"d\",y\n", &["rows.csv:4", "opened on line 3", "no_quotes = true"]);
    classes("rows.csv", b"text,label\r\n\r\na,x\r\nb\r\n", &["rows.csv:4", "1 field, expected 2"]);
    classes("rows.csv", b"text,text\na,x\n", &["rows.csv:1", "two columns are called `text`", "header"]);
}

#[test]
fn json_lines_are_objects_one_a_line() {
    let row = br#"{"text":"a","label":"x"}"#;
    let lines = |lines: &[&[u8]]| lines.join(&b"\n"[..]);
    classes("rows.jsonl", &lines(&[row, b"", row]), &["rows.jsonl:2", "blank line", "JSON object"]);
    classes("rows.jsonl", &lines(&[row, br#"{"text":"a","label":"x"},"#]), &["rows.jsonl:2", "column 25", "comma"]);
    classes("rows.jsonl", &lines(&[b"[", row, b"]"]), &["rows.jsonl:1", "reader `json`"]);
    classes("rows.jsonl", br#"[{"text":"a","label":"x"}]"#, &["rows.jsonl:1", "found an array", "reader `json`"]);
    classes("rows.jsonl", &lines(&[row, b"7"]), &["rows.jsonl:2", "an object was expected", "a number"]);
    classes("rows.jsonl", br#"{"text":null,"label":"x"}"#, &["rows.jsonl:1", "column `text`", "found null"]);
    classes("rows.jsonl", br#"{"text":["a"],"label":"x"}"#, &["rows.jsonl:1", "column `text`", "found a list"]);
    classes("rows.json", row, &["an array of objects was expected", "reader `jsonl`"]);
    classes("rows.json", &lines(&[row, row]), &["every line is an object", "name = \"jsonl\""]);
    let nested = br#"{"version": "1", "data": [{"text": "a", "label": "x"}]}"#;
    classes("rows.json", nested, &["found an object", "the objects lie under `data`", "key = \"data\""]);
    for columns in [
        &br#"{"text": {"0": "a", "1": "b"}, "label": {"0": "x", "1": "y"}}"#[..],
        br#"{"text": ["a", "b"], "label": ["x", "y"]}"#,
        br#"{"columns": ["text", "label"], "index": [0, 1], "data": [["a", "x"], ["b", "y"]]}"#,
    ] {
        classes("rows.json", columns, &["found an object", "orient=\"records\""]);
    }
    let keyed = format!("{}[reader]\nkey = \"more.rows\"\n", all("classification", "rows.json", ""));
    let error = refusal(&keyed, &[("rows.json", br#"{"more": {"data": []}}"#)]);
    assert!(error.contains("no key `rows`; there are data"), "{error}");
    let error = refusal(&keyed, &[("rows.json", br#"{"more": {"rows": [{"text": "a", "label": "x"}, 7]}}"#)]);
    assert!(error.contains("record 2: an object was expected"), "{error}");
    classes("rows.json", br#"[{"text":"a","label":"x"}, 3]"#, &["record 2", "an object was expected"]);
    classes("rows.json", b"[\n{\"text\":\n]", &["rows.json:3", "column"]);
}

#[test]
fn every_word_has_its_tag() {
    refused("tagging", "rows.conll", b"a O\nb\n", "", &["rows.conll:2", "1 field, expected 2", "its tag among them"]);
    let row = br#"{"tokens":["a","b"],"tags":["O"]}"#;
    refused("tagging", "rows.jsonl", row, "", &["rows.jsonl:1", "column `tags`", "1 tags for 2 words"]);
    let row = br#"{"tokens":["a","b"],"tags":["O","B-x"]}"#;
    let more = "labels = [\"O\", \"B-y\"]";
    refused("tagging", "rows.jsonl", row, more, &["rows.jsonl:1", "column `tags`", "unknown tag `B-x`", "O, B-y"]);
}

#[test]
fn regression_targets_are_finite_numbers_in_range() {
    let rows = |bad: &str| {
        let good: String = (0..9).map(|row| format!("text {row},0.{row}\n")).collect();
        format!("text,label\n{good}text,{bad}\n").into_bytes()
    };
    let wrong = |bad: &str, named: &str| {
        refused("regression", "rows.csv", &rows(bad), "range = [-1, 1]", &["rows.csv:11", "column `label`", named])
    };
    wrong("NaN", "a finite number was expected, found `NaN`");
    wrong("inf", "a finite number was expected");
    wrong("1e300", "1e300 is beyond single precision");
    wrong("good", "a number was expected, found `good`");
    wrong("", "a number was expected");
    wrong("1.5", "1.5 lies outside the task's range [-1, 1]");
}

#[test]
fn labels_are_known_and_of_two_kinds_at_least() {
    let more = "labels = [\"spam\", \"ham\"]";
    let row = b"text,label\na,ham\nb,spam\nc,spma\n";
    refused(
        "classification",
        "rows.csv",
        row,
        more,
        &["rows.csv:4", "column `label`", "`spma`", "did you mean `spam`?", "spam, ham"],
    );
    let rows: String = (0..20).map(|row| format!("text {row},same\n")).collect();
    let error =
        refusal(&all("classification", "rows.csv", ""), &[("rows.csv", format!("text,label\n{rows}").as_bytes())]);
    assert!(error.contains("every training row is of the class `same`") && error.contains("two"), "{error}");
}

#[test]
fn a_column_of_splits_names_splits() {
    let tables = format!("{}column = \"part\"\n", all("classification", "rows.csv", ""));
    let error = refusal(&tables, &[("rows.csv", b"text,label,part\na,x,train\nb,y,tests\n")]);
    for part in ["rows.csv:3", "column `part`", "train, dev or test", "found `tests`"] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
}

#[test]
fn a_manifest_with_an_unknown_key_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "about = \"a\"\nlicence = \"b\"\n[task]\nkind = \"regression\"\nrnage = [0, 1]\n")
        .expect("written");
    let error = format!("{:#}", DatasetManifest::read(&path).expect_err("an unknown key"));
    assert!(error.contains("mine.toml") && error.contains("line 5") && error.contains("rnage"), "{error}");
}

/// What is no regular file is not opened: to read a pipe that nobody writes to would wait without end.
#[cfg(unix)]
#[test]
fn pipes_sockets_and_devices_are_no_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path: &Path, named: &str| {
        let spec = ReaderSpec { name: Some("csv".into()), ..ReaderSpec::default() };
        let error = format!("{:#}", reader::read(&Registry::default(), path, &spec).expect_err(named));
        assert!(error.contains(named) && error.contains("regular files"), "{error}");
    };
    let socket = folder.path().join("socket.csv");
    let _bound = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    refused(&socket, "a socket");
    refused(folder.path(), "a folder");
    refused(Path::new("/dev/zero"), "a device");
    let pipe = folder.path().join("pipe.csv");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        refused(&pipe, "a named pipe");
    }
}
