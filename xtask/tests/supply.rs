//! What comes in with a dependency: how many crates, against the budgets of `crates/README.md`; and that what refuses
//! their licences and sources is asked wherever it can be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first words of the table that holds the budgets.
const HEAD: &str = "| package | crates without default features | crates | budget |";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The crates that `package` is built from on this platform, itself among them.
fn crates(package: &str, more: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none", "--package", package])
        .args(more)
        .current_dir(root())
        // What the whole workspace asks of a crate is not what one package brings to its user.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("text");
    // A crate that was printed before is marked by a star; a procedural macro and a path by brackets.
    tree.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(" (").next().unwrap_or(line).to_string())
        .collect()
}

/// The rows of the budgets: the package, and its three numbers.
fn budgets(text: &str) -> Vec<(String, [usize; 3])> {
    let table = text.split(HEAD).nth(1).expect("the table of budgets in crates/README.md");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let number = |at: usize| cells[at].parse().unwrap_or_else(|_| panic!("{row}: `{}` is no number", cells[at]));
        (cells[0].trim_matches('`').to_string(), [number(1), number(2), number(3)])
    })
    .collect()
}

/// A dependency is cheap to add and dear to keep: whoever goes over a budget raises it in the open.
#[test]
fn no_package_is_built_from_more_crates_than_its_budget() {
    let rows = budgets(&read("crates/README.md"));
    let mut listed: Vec<String> = rows.iter().map(|(package, _)| package.clone()).collect();
    listed.sort();
    let folders = std::fs::read_dir(root().join("crates")).expect("the crates").flatten();
    // What is never published costs nobody a dependency.
    let published = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("Cargo.toml")).is_ok_and(|text| !text.contains("publish = false"))
    };
    let folders = folders.filter(|entry| published(&entry.path()));
    let mut packages: Vec<String> = folders.map(|entry| format!("mtl-{}", entry.file_name().display())).collect();
    packages.sort();
    assert_eq!(listed, packages, "every package has its row");
    for (package, [without, with, budget]) in rows {
        assert!(without <= with && with <= budget, "{package}: {without}, {with} and {budget} contradict each other");
        let bare = crates(&package, &["--no-default-features"]).len();
        let all = crates(&package, &[]);
        let count = all.len();
        assert!(bare <= count, "{package}: features took {} crates away", bare - count);
        assert!(count <= budget, "{package} is built from {count} crates, {} over its budget: {all:?}", count - budget);
        // Other platforms differ by a few crates; a figure that has gone stale is told on any.
        for (what, stated, found) in [("without default features", without, bare), ("in all", with, count)] {
            let near = stated.abs_diff(found) <= 3 + stated / 20;
            assert!(near, "{package}: crates/README.md states {stated} crates {what}, there are {found}");
        }
    }
}

#[test]
fn the_kernel_of_bargaining_brings_nothing() {
    assert_eq!(crates("mtl-nash", &[]).len(), 1);
}

/// A check that nobody runs checks nothing.
#[test]
fn licences_bans_sources_and_advisories_are_asked_for() {
    let config: toml::Table = read(".ci/deny.toml").parse().expect("TOML");
    for section in ["graph", "licenses", "bans", "sources"] {
        assert!(config.contains_key(section), "`.ci/deny.toml` has no [{section}]");
    }
    for (entry, lists) in [("skip", "second versions"), ("deny", "refused crates")] {
        let entries = config["bans"][entry].as_array().expect(lists);
        let reasoned = |entry: &toml::Value| entry.get("reason").and_then(toml::Value::as_str).is_some();
        assert!(!entries.is_empty() && entries.iter().all(reasoned), "every one of the {lists} has its reason");
    }
    assert!(read(".ci/full").contains("--config .ci/deny.toml check licenses bans sources"));
    assert!(read(".github/workflows/ci.yml").contains("--config .ci/deny.toml check advisories"));
    assert!(read("xtask/src/commands/check.rs").contains(".ci/deny.toml"));
    // What was checked is what is built: the lock is kept.
    assert!(read("Cargo.lock").lines().any(|line| line == "name = \"candle-core\""));
}
