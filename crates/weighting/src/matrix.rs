//! The table of what rules claim.

use mtl_task::Registry;

use crate::{Property, Rule};

/// The table of rules and what they claim, in Markdown.
pub fn matrix(rules: &Registry<Rule>) -> String {
    let titles: Vec<&str> = Property::ALL.iter().map(|property| property.title()).collect();
    let mut table = format!("| rule | sees | {} | oracle |\n", titles.join(" | "));
    table += &format!("| --- | --- |{} --- |\n", " :-: |".repeat(titles.len()));
    for entry in rules {
        let claims: Vec<&str> = Property::ALL
            .iter()
            .map(|property| if entry.properties.contains(property) { "yes" } else { "–" })
            .collect();
        let oracle = if entry.verified { "verified" } else { "unverified" };
        table += &format!("| `{}` | {} | {} | {oracle} |\n", entry.name, entry.class.name(), claims.join(" | "));
    }
    table
}
