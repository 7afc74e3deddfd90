//! The field's words in what others read: no name of this project's own for what the field has a word for, in a public
//! item, a message or a document.

use std::path::{Path, PathBuf};

/// Names that no public item may have, whole or as one of its words.
const NAMES: &[&str] = &[
    "Row",
    "Segment",
    "Slot",
    "Sink",
    "Spares",
    "Blend",
    "Site",
    "Evidence",
    "Hindsight",
    "Standing",
    "Whole",
    "Away",
    "Look",
    "Programme",
    "Price",
    "Spectrum",
    "Contest",
    "Demands",
    "Widen",
    "Narrow",
    "Attended",
    "Fed",
    "Spoilt",
    "Everybodys",
    "Stretch",
];

/// What a reader stumbles over, and what to write.
const PHRASES: &[(&str, &str)] = &[
    ("behind step", "after step"),
    ("open no socket", "work offline"),
    ("opens no socket", "works offline"),
    ("stands there twice", "is listed twice"),
    ("is no name", "is not a valid name"),
    ("get on with each other", "interactions between tasks"),
    ("cannot be had here", "could not be fetched"),
    ("is it the right file?", "what was expected"),
    ("trivial answer", "baseline"),
    ("common ground", "row overlap"),
    ("demands on the words", "row statistics"),
    ("1 rows", "1 row"),
    ("1 texts", "1 text"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// The files below `folders` of the workspace with one of `endings`, by their path from the root.
fn files(folders: &[&str], endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.push((name, std::fs::read_to_string(&path).expect("text")));
        }
    }
    found.sort();
    found
}

/// The name that a line of source makes public, if it does.
fn public_name(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub ")?;
    let rest = ["const fn ", "fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "mod "]
        .iter()
        .find_map(|kind| rest.strip_prefix(kind))
        .unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

/// The words of a name in either case: `row_conflict` and `RowConflict` are Row, Conflict.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() && before.is_lowercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.extend(if word.is_empty() { letter.to_uppercase().collect::<Vec<_>>() } else { vec![letter] });
        }
        before = letter;
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

#[test]
fn public_items_have_the_fields_words() {
    assert_eq!(words("row_conflict"), words("RowConflict"));
    assert_eq!(public_name("    pub fn hindsight(&mut self) {}"), Some("hindsight"));
    let mut seen = 0;
    for (file, text) in files(&["crates", "xtask"], &["rs"]).iter().filter(|(file, _)| file.contains("/src/")) {
        for (at, line) in text.lines().enumerate() {
            let Some(name) = public_name(line) else { continue };
            seen += 1;
            let own = words(name);
            // `Row` alone is a gradient's old name; what is said of a table's rows has a further word.
            let refused = NAMES.iter().find(|word| match **word {
                "Row" | "Site" | "Whole" | "Look" => name == **word,
                word => own.iter().any(|own| own == word),
            });
            assert!(refused.is_none(), "{file}:{}: `{name}` has the word {refused:?}", at + 1);
        }
    }
    assert!(seen > 500, "only {seen} public items were found");
}

#[test]
fn messages_and_documents_say_it_plainly() {
    let documents = files(&["docs", "README.md", "crates", "datasets", "models"], &["md", "toml"]);
    let sources = files(&["crates", "xtask/src"], &["rs"]);
    let read = documents.into_iter().chain(sources.into_iter().filter(|(file, _)| file.contains("/src/")));
    for (file, text) in read.filter(|(file, _)| !file.starts_with("docs/results/")) {
        for (at, line) in text.lines().enumerate() {
            for (phrase, better) in PHRASES {
                let stands = line.match_indices(phrase).any(|(at, _)| {
                    // "11 rows" is right.
                    !phrase.starts_with('1') || !line[..at].ends_with(|c: char| c.is_ascii_digit() || c == '.')
                });
                assert!(!stands, "{file}:{}: write `{better}` instead of `{phrase}`: {line}", at + 1);
            }
        }
    }
}
