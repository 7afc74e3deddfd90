//! What the documentation tells people to type is understood.

use std::path::{Path, PathBuf};

use clap::Parser;

const TYPED: &str = "cargo xtask ";

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = vec![root.join("README.md"), root.join("crates/README.md")];
    let docs = std::fs::read_dir(root.join("docs")).expect("the documentation").flatten().map(|entry| entry.path());
    documents.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    documents.sort();
    documents
}

/// The commands of a text: up to the end of the line, of the code span, or a comment. Those with an ellipsis are left.
fn commands(text: &str) -> Vec<&str> {
    let behind = text.match_indices(TYPED).map(|(at, found)| &text[at + found.len()..]);
    let command = |rest: &'static [char], text: &str| text.find(rest).unwrap_or(text.len());
    behind
        .map(|text| &text[..command(&['`', '\n', '#', '|', '<', ')'], text)])
        .filter(|text| !text.contains('…'))
        .collect()
}

#[test]
fn every_documented_command_parses() {
    let mut seen = 0;
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("read");
        for command in commands(&text) {
            let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
            // `cargo xtask --help` and the like answer without being an error.
            let parsed = xtask::Arguments::try_parse_from([&["xtask"], &words[..]].concat());
            if let Err(error) = parsed {
                // A bare name is how the text speaks of a command that wants arguments.
                let spoken_of = words.len() == 1 && error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
                assert!(spoken_of || !error.use_stderr(), "{}: `{TYPED}{command}`: {error}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 8, "the README alone has as many: {seen}");
}
