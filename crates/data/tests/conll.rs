//! CoNLL columns: no word vanishes, whatever it begins with and whatever white space is in it.

use mtl_data::manifest::ReaderSpec;
use mtl_data::reader::{self, Record};
use mtl_task::{Cell, Registry};

fn read(text: &str, header: &[&str]) -> Result<(Vec<Record>, Vec<String>), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.conll");
    std::fs::write(&path, text).expect("written");
    let spec = ReaderSpec { header: header.iter().map(ToString::to_string).collect(), ..ReaderSpec::default() };
    reader::read_noted(&Registry::default(), &path, &spec).map_err(|error| format!("{error:#}"))
}

/// The fields of column `column`, sentence by sentence.
fn column(records: &[Record], column: &str) -> Vec<Vec<String>> {
    let of = |record: &Record| match record.field(column).expect("a column") {
        Cell::Many(list) => list.clone(),
        Cell::Text(text) => panic!("a text: {text}"),
    };
    records.iter().map(of).collect()
}

fn refused(text: &str, named: &[&str]) {
    let error = read(text, &["word", "tag"]).expect_err(text);
    named.iter().for_each(|part| assert!(error.contains(part), "`{part}` is missing in: {error}"));
}

#[test]
fn words_that_look_like_comments_and_ranges_are_words() {
    for gap in ["\t", " "] {
        let text = format!("#rome{gap}B\n3-4{gap}O\n5.1{gap}O\n#{gap}O\n\n# a note of two\n#x{gap}B\nb{gap}O\n");
        let (records, notes) = read(&text, &["word", "tag"]).expect("read");
        assert_eq!(column(&records, "word"), [vec!["#rome", "3-4", "5.1", "#"], vec!["#x", "b"]]);
        assert_eq!(column(&records, "tag"), [vec!["B", "O", "O", "O"], vec!["B", "O"]]);
        assert!(notes.iter().any(|note| note.contains("rows.conll:6") && note.contains("1 comment line")), "{notes:?}");
    }
    // Without a header, the first line that is no comment says how many columns there are.
    let (records, _) = read("# a note of two\na\tX\tO\n", &[]).expect("read");
    assert_eq!(column(&records, "2"), [["O"]]);
}

/// The ten columns of <https://universaldependencies.org/format.html>.
#[test]
fn universal_dependencies_have_ranges_empty_nodes_and_comments() {
    let word = |id: &str, form: &str| format!("{id}\t{form}{}\n", "\t_".repeat(8));
    let text = format!(
        "# sent_id = 1\n#text=vámonos al\n{}{}{}{}{}\n",
        word("1-2", "vámonos"),
        word("1", "vamos"),
        word("2", "nos"),
        word("2.1", "gone"),
        word("3", "#mar")
    );
    let (records, notes) = read(&text, &[]).expect("read");
    assert_eq!(column(&records, "1"), [["vamos", "nos", "#mar"]]);
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn columns_are_split_at_spaces_and_tabs_alone() {
    let (records, _) = read("10\u{a0}000 B\n\u{3000} O\na\u{2009}b O\n", &["word", "tag"]).expect("read");
    assert_eq!(column(&records, "word"), [["10\u{a0}000", "\u{3000}", "a\u{2009}b"]]);
    let (records, _) = read("New York\tB\nis\tO\n", &["word", "tag"]).expect("read");
    assert_eq!(column(&records, "word"), [["New York", "is"]]);
    // One tab in a file with spaces ends a column, as a space would.
    let (records, _) = read("a O\nRome\tB\nb  O \nc O\n", &["word", "tag"]).expect("read");
    assert_eq!(column(&records, "word"), [["a", "Rome", "b", "c"]]);
    let (records, _) = read("a O\r\n\r\nb O\r\n", &["word", "tag"]).expect("read");
    assert_eq!(column(&records, "tag"), [["O"], ["O"]]);
    let (records, _) = read("a O\r\rb O\r", &["word", "tag"]).expect("read");
    assert_eq!(column(&records, "tag"), [["O"], ["O"]]);
}

#[test]
fn lines_without_their_columns_are_refused_where_they_are() {
    refused(
        "a O\nNew York\tB\nb O\nc O\n",
        &["rows.conll:2", "3 fields, expected 2 (word, tag)", "this line has a tab"],
    );
    refused("a\tO\nRome B\nb\tO\n", &["rows.conll:2", "1 field, expected 2", "this line has none"]);
    refused("a\tO\n# a note\nb\tO\n", &["rows.conll:2", "stands before a sentence"]);
    refused("#rome\na\tO\n", &["rows.conll:1", "a word needs all of its columns"]);
    refused("a O\nb\n", &["rows.conll:2", "1 field, expected 2", "its tag among them"]);
}
