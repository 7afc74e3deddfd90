//! `paper` on the rows that are shipped.

use std::path::{Path, PathBuf};

use crate::tool::{good, run};

fn results(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results").join(name);
    path.canonicalize().expect("shipped results").display().to_string()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| {
        (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("read"))
    };
    let mut found: Vec<(String, Vec<u8>)> = paths.map(read).collect();
    found.sort();
    found
}

const CLAIMS: &str = r#"
level = 0.05
detectable = 0.01
suites = { mixed = "mixed", conflict = "conflict" }

[[claim]]
name = "hard is better"
arm = "hard+equal"
part = [{ suites = { mixed = ["single"] } }]

[[claim]]
name = "hard is safe"
arm = "hard+equal"
above = -0.005
part = [{ suites = { conflict = ["single"] } }]

[[claim]]
name = "groups beat hard"
arm = "groups+equal"
part = [{ suites = { mixed = ["hard+equal"] } }]
"#;

#[test]
fn shipped_rows_make_a_paper_and_judge_claims_and_the_bytes_repeat() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    std::fs::write(here.join("claims.toml"), CLAIMS).expect("written");
    let names = ["mixed", "conflict", "related", "regimes", "planted", "default-tasks"].map(results);
    let arguments = |to: &'static str| -> Vec<&str> {
        let folders = names.iter().map(String::as_str);
        ["paper"].into_iter().chain(folders).chain(["--to", to, "--claims", "claims.toml"]).collect()
    };
    let said = good(here, &arguments("first"));
    assert!(said.contains("claim: met (hard is better)"), "{said}");
    assert!(said.contains("claim: not met (hard is safe)"), "{said}");
    // The rows of the experiment as it was run hold no difference between these two.
    assert!(said.contains("claim: uninformative (groups beat hard)"), "{said}");
    assert!(said.contains("the rows have no interval of `groups+equal` − `hard+equal`"), "{said}");
    assert!(said.contains("not stated beforehand: the plan does not hold this file's hash on mixed"), "{said}");
    good(here, &arguments("second"));
    let found = files(&here.join("first"));
    assert_eq!(found, files(&here.join("second")), "the same rows give the same bytes");
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["claims.tex", "effects.svg", "mixed-scores.tex", "mixed-effects.svg", "paper.md", "paper.tex"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for name in ["regimes-sizes.svg", "regimes-sizes.tex", "planted-scores.md", "default-tasks-effects.svg"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    // The gain of intervals.csv, with its p after Holm.
    let table =
        String::from_utf8(found[names.iter().position(|name| *name == "mixed-scores.md").expect("there")].1.clone());
    let table = table.expect("text");
    assert!(table.contains("| +0.0114 | \\[+0.0034, +0.0194\\] | 0.013 | 0.0777 | 3.6 |"), "{table}");

    // Given again into the same folder it writes the same; a folder of somebody's own is left alone.
    good(here, &arguments("first"));
    assert_eq!(found, files(&here.join("first")));
    std::fs::create_dir(here.join("own")).expect("made");
    std::fs::write(here.join("own/paper.tex"), "mine").expect("written");
    let refused = run(here, &["paper", &results("mixed"), "--to", "own"]);
    assert!(refused.code == Some(1) && refused.error.contains("holds `paper.tex`"), "{}", refused.error);
    assert_eq!(files(&here.join("own")).len(), 1);
    let refused = run(here, &["paper", "own", "--to", "other"]);
    assert!(refused.error.contains("own: none of report.csv, metrics.csv, intervals.csv"), "{}", refused.error);
}

/// The claim of the project's own trial can be read, and asks of each of its experiments what it can answer.
#[test]
fn the_claims_of_the_trial_are_sound() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/claims/adaptive.toml");
    let claimed = mtl_compare::Claimed::read(&path).expect("sound claims");
    let pairs = claimed.claims.pairs("dynamic-mixed");
    let against: Vec<&str> = pairs.iter().map(|(_, against)| against.as_str()).collect();
    assert_eq!(against, ["hard+equal", "oracle partition", "portfolio", "single"]);
    assert!(claimed.claims.suites.values().all(|experiment| !claimed.claims.pairs(experiment).is_empty()));
}
