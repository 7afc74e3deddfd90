//! Every control that `.github/SECURITY.md` promises names a test, and that test exists.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of all tables whose last column is headed "test".
fn controls(text: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        inside = line.starts_with('|') && (inside || line.ends_with("| test |"));
        if inside && !line.ends_with("| test |") && !line.starts_with("| ---") {
            rows.push(line.trim_matches('|').split(" | ").map(str::trim).collect());
        }
    }
    rows
}

/// What stands in code spans.
fn spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether `source` has the test `name`: a function of that name behind `#[test]`.
fn has_test(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let before = source[..at].trim_end().trim_end_matches("pub").trim_end();
        before.lines().rev().take(4).any(|line| line.trim() == "#[test]")
    })
}

#[test]
fn every_control_has_a_test_that_exists() {
    assert!(
        has_test("#[test]\nfn a() {}", "a") && !has_test("fn a() {}", "a") && !has_test("#[test]\nfn ab() {}", "a")
    );
    let text = read(".github/SECURITY.md");
    let rows = controls(&text);
    assert!(rows.len() >= 20, "only {} controls were found", rows.len());
    for row in rows {
        assert_eq!(row.len(), 3, "threat, control, test: {row:?}");
        let tests = spans(row[2]);
        assert!(!tests.is_empty(), "no test for: {}", row[1]);
        for test in tests {
            let (file, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("`{test}` is not FILE::TEST"));
            assert!(has_test(&read(file), name), "{file} has no test `{name}`, which should show: {}", row[1]);
        }
    }
}

/// Nothing in the sources opens a pickle, evaluates code of a model, or turns off the check of a certificate.
#[test]
fn no_source_opens_a_pickle_or_runs_foreign_code() {
    let mut waiting = vec![root().join("crates")];
    let mut read_files = 0;
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).expect("a folder").flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && path.components().any(|part| part.as_os_str() == "src")
        {
            read_files += 1;
            let source = std::fs::read_to_string(&path).expect("text");
            for word in
                ["pickle::", "read_all_with_key", "VarBuilder::from_pth", "gguf_file", "danger", "disable_verification"]
            {
                assert!(!source.contains(word), "{}: `{word}`", path.display());
            }
        }
    }
    assert!(read_files > 200, "only {read_files} sources were found");
}
