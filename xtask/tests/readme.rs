//! What the documentation tells people to type is understood.

use std::path::{Path, PathBuf};

use clap::Parser;

/// How commands are typed in a checkout.
const CHECKOUT: &str = "cargo xtask ";
/// How they are typed once the binary is installed, at the start of a line or of a code span.
const INSTALLED: [&str; 2] = ["\nmtl ", "`mtl "];

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut documents = vec![root.join("README.md"), root.join("crates/README.md"), root.join("crates/cli/README.md")];
    let docs = std::fs::read_dir(root.join("docs")).expect("the documentation").flatten().map(|entry| entry.path());
    documents.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    documents.sort();
    documents
}

/// The commands of a text that begin with `typed`: up to the end of the line, of the code span, or a comment. Those with
/// an ellipsis are left.
fn commands<'a>(text: &'a str, typed: &'a str) -> Vec<&'a str> {
    let after = text.match_indices(typed).map(|(at, found)| &text[at + found.len()..]);
    after
        .map(|text| &text[..text.find(['`', '\n', '#', '|', '<', ')']).unwrap_or(text.len())])
        .filter(|text| !text.contains('…'))
        .collect()
}

/// Checks that a parser understands `command`.
fn understood<T: Parser>(path: &Path, command: &str) {
    let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    // `--help` and the like end the parsing without being an error.
    if let Err(error) = T::try_parse_from([&["program"], &words[..]].concat()) {
        // A bare name is how the text speaks of a command that needs arguments.
        let spoken_of = words.len() == 1 && error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
        assert!(spoken_of || !error.use_stderr(), "{}: `{command}`: {error}", path.display());
    }
}

#[test]
fn every_documented_command_parses() {
    let (mut checkout, mut installed) = (0, 0);
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("read");
        for command in commands(&text, CHECKOUT) {
            understood::<xtask::Arguments>(&path, command);
            checkout += 1;
        }
        for command in INSTALLED.iter().flat_map(|typed| commands(&text, typed)) {
            understood::<mtl_cli::Arguments>(&path, command);
            installed += 1;
        }
    }
    assert!(checkout >= 8 && installed >= 2, "the README alone has as many: {checkout}, {installed}");
}
