//! What the documents repeat of the registries is not stale.

use std::path::Path;

use xtask::documents::{PARTS, documents};

#[test]
fn what_the_documents_repeat_is_what_the_registries_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let documents = documents(&root).expect("parts with known names");
    for (path, text, right) in &documents {
        let missing: Vec<&str> = right.lines().filter(|line| !text.lines().any(|known| known == *line)).collect();
        assert!(
            text == right,
            "{} is stale: `cargo xtask check --docs` writes it; missing is\n{}",
            path.display(),
            missing.join("\n")
        );
    }
    for (name, _) in PARTS {
        let stands = |(_, text, _): &(_, String, _)| text.contains(&format!("<!-- made: {name} -->"));
        assert!(documents.iter().any(stands), "no document holds the part `{name}`");
    }
    let rules = mtl_task::Registry::<mtl_weighting::Rule>::default();
    let holds = |line: &str| documents.iter().any(|(_, text, _)| text.lines().any(|known| known.starts_with(line)));
    assert!(rules.iter().all(|rule| holds(&format!("| `{}` | {} |", rule.name, rule.class.name()))));
    assert!(mtl_sharing::STRATEGIES.iter().all(|entry| holds(&format!("| `{}` | {} |", entry.name, entry.about))));
}
