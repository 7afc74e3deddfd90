//! The parts of the documents that repeat what the registries say, made from these.
//!
//! A part stands between `<!-- made: NAME -->` and `<!-- end -->`, in a line or over lines of its own; NAME is one of
//! [`PARTS`]. `cargo xtask check --docs` writes them, and a test says when they are stale.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mtl_cli::Registries;
use mtl_cli::commands::{minilm, strategies};
use mtl_task::rng::Key;

const BEGIN: &str = "<!-- made: ";
const BEGUN: &str = " -->";
const END: &str = "<!-- end -->";

/// Tasks that strategies are counted for.
const TASKS: usize = 4;

/// What makes a part.
type Maker = fn(&Registries) -> Result<String>;

/// What can be made, by name.
pub const PARTS: &[(&str, Maker)] = &[
    ("table of strategies", table_of_strategies),
    ("parameters of the default encoder", |registries| {
        Ok(millions(mtl_backbone::random(&registries.architectures, "bert", &minilm(), Key::new(0))?.count()))
    }),
    ("number of strategies beside hard and single", |registries| in_words(registries.strategies.iter().count() - 2)),
    ("table of rules", |registries| Ok(mtl_weighting::matrix(&registries.rules))),
    ("number of rules", |registries| in_words(registries.rules.iter().count())),
];

/// The documents of `checkout` that hold such parts, with what they are and what they should be.
///
/// # Errors
/// If one cannot be read, or a part has no end or an unknown name.
pub fn documents(checkout: &Path) -> Result<Vec<(PathBuf, String, String)>> {
    let (registries, mut made) = (Registries::default(), Made::default());
    let mut found = Vec::new();
    for path in places(checkout)? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if text.contains(BEGIN) {
            let right =
                renewed(&text, &mut |name| made.part(name, &registries)).with_context(|| path.display().to_string())?;
            found.push((path, text, right));
        }
    }
    Ok(found)
}

/// The documents of `checkout` that are not what they should be.
///
/// # Errors
/// As [`documents`].
pub fn stale(checkout: &Path) -> Result<Vec<PathBuf>> {
    let stale = documents(checkout)?.into_iter().filter(|(_, text, right)| text != right);
    Ok(stale.map(|(path, ..)| path).collect())
}

/// Writes what the parts should be.
///
/// # Errors
/// As [`documents`], or if a file cannot be written.
pub(crate) fn renew(checkout: &Path) -> Result<()> {
    for (path, text, right) in documents(checkout)? {
        if text != right {
            fs::write(&path, right).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

/// README, docs, and the pages of the crates.
fn places(checkout: &Path) -> Result<Vec<PathBuf>> {
    let mut places = vec![checkout.join("README.md"), checkout.join("crates/README.md")];
    let entries = |folder: &str| -> Result<Vec<PathBuf>> {
        let folder = checkout.join(folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    places.extend(entries("docs")?.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    places.extend(entries("crates")?.into_iter().map(|path| path.join("README.md")).filter(|path| path.exists()));
    places.sort();
    Ok(places)
}

/// Parts that were made already: some take a while, and stand in several documents.
#[derive(Default)]
struct Made(Vec<(&'static str, String)>);

impl Made {
    fn part(&mut self, name: &str, registries: &Registries) -> Result<String> {
        if let Some((_, text)) = self.0.iter().find(|(known, _)| *known == name) {
            return Ok(text.clone());
        }
        let Some((known, maker)) = PARTS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
            bail!("no part is called `{name}`; there are {}", names.join(", "))
        };
        let text = maker(registries)?.trim_end().to_string();
        self.0.push((known, text.clone()));
        Ok(text)
    }
}

/// `text` with every part as `part` makes it.
fn renewed(text: &str, part: &mut dyn FnMut(&str) -> Result<String>) -> Result<String> {
    let (mut rest, mut right) = (text, String::new());
    while let Some(at) = rest.find(BEGIN) {
        let after = &rest[at + BEGIN.len()..];
        let begun = after.find(BEGUN).context("a part's mark is not closed")?;
        let (name, inside) = (&after[..begun], &after[begun + BEGUN.len()..]);
        let end = inside.find(END).with_context(|| format!("the part `{name}` has no `{END}`"))?;
        // Over lines of its own, or in one.
        let around = if inside.starts_with('\n') { "\n" } else { "" };
        right += &rest[..at + BEGIN.len() + begun + BEGUN.len()];
        right += &format!("{around}{}{around}{END}", part(name).with_context(|| format!("the part `{name}`"))?);
        rest = &inside[end + END.len()..];
    }
    Ok(right + rest)
}

fn table_of_strategies(registries: &Registries) -> Result<String> {
    let rows = strategies(registries, TASKS)?;
    let mut lines: Vec<String> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let (name, others) = row.split_first().context("a row without a name")?;
        let name = if at == 0 { name.clone() } else { format!("`{name}`") };
        lines.push(format!("| {name} | {} |", others.join(" | ")));
        if at == 0 {
            lines.push(format!("|{}", " --- |".repeat(row.len())));
        }
    }
    Ok(lines.join("\n"))
}

/// `count` in millions.
fn millions(count: usize) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}

/// `number`, below a hundred, in words.
fn in_words(number: usize) -> Result<String> {
    const SMALL: [&str; 20] = [
        "none",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    Ok(match (number, number % 10) {
        (0..20, _) => SMALL[number].to_string(),
        (20..100, 0) => TENS[number / 10 - 2].to_string(),
        (20..100, ones) => format!("{}-{}", TENS[number / 10 - 2], SMALL[ones]),
        _ => bail!("{number} is too many to be put in words"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_made_in_lines_and_over_lines() {
        let text = "a <!-- made: x -->old<!-- end --> b\n<!-- made: y -->\nold\nolder\n<!-- end -->\nc\n";
        let mut upper = |name: &str| Ok(name.to_uppercase());
        let right = renewed(text, &mut upper).expect("made");
        assert_eq!(right, "a <!-- made: x -->X<!-- end --> b\n<!-- made: y -->\nY\n<!-- end -->\nc\n");
        assert_eq!(renewed(&right, &mut upper).expect("made again"), right);
        let error = format!("{:#}", renewed("<!-- made: x -->", &mut upper).expect_err("no end"));
        assert!(error.contains("`x`") && error.contains(END), "{error}");
        let error = Made::default().part("y", &Registries::default()).expect_err("unknown").to_string();
        assert!(error.contains("`y`") && error.contains("table of rules"), "{error}");
    }

    #[test]
    fn numbers_have_words() {
        let words: Vec<String> = [0, 7, 19, 20, 33, 99].map(|number| in_words(number).expect("words")).to_vec();
        assert_eq!(words, ["none", "seven", "nineteen", "twenty", "thirty-three", "ninety-nine"]);
        assert!(in_words(100).is_err());
    }
}
