//! Tables in the documents that repeat what the registries say are not stale.

use std::path::Path;

use mtl_task::Registry;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_table_of_rules_is_what_the_registry_prints() {
    let (text, table) = (document("rules.md"), mtl_weighting::matrix(&Registry::default()));
    assert!(table.lines().count() > 30, "{table}");
    for line in table.lines() {
        assert!(
            text.lines().any(|known| known == line),
            "docs/rules.md is stale: put there what `cargo xtask list rules --properties` prints; missing is\n{line}"
        );
    }
}

#[test]
fn the_table_of_strategies_says_what_the_registry_says() {
    let text = document("strategies.md");
    for entry in mtl_sharing::STRATEGIES {
        let start = format!("| `{}` | {} |", entry.name, entry.about);
        let row = text.lines().find(|line| line.starts_with(&start));
        let stale = "docs/strategies.md is stale: see `cargo xtask list strategies --tasks 4`";
        let row = row.unwrap_or_else(|| panic!("{stale}; no row begins with\n{start}"));
        let rates = entry.rates.to_string();
        assert!([entry.paper, entry.cost, &rates].iter().all(|cell| row.contains(cell)), "{stale}:\n{row}");
    }
}
