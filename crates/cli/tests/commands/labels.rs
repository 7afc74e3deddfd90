//! Several label columns of one table, as the README describes them, and runs whose data has changed since.

use std::path::Path;

use crate::own::folder;
use crate::tool::{fed, good, json, refused, run};

const TICKETS: &str = r#"
about = "support tickets"
licence = "ours"

[columns]
text = "body"

[[columns.labels]]
name = "team"
kind = "classification"

[[columns.labels]]
name = "urgency"
column = "hours"
kind = "regression"

[splits]
all = ["tickets.csv"]
"#;

/// The folder of [`folder`] with a table of two label columns, neither of which every row has.
fn tickets() -> tempfile::TempDir {
    let folder = folder();
    let row = |row: usize| {
        let team = if row.is_multiple_of(5) { "" } else { ["desk", "lines"][row % 2] };
        let hours = if row.is_multiple_of(4) { String::new() } else { (1000 + row).to_string() };
        format!("{} printer {row},{team},{hours}\n", char::from(b'a' + (row % 26) as u8))
    };
    let rows: String = (0..100).map(row).collect();
    std::fs::write(folder.path().join("tickets.csv"), format!("body,team,hours\n{rows}")).expect("written");
    std::fs::create_dir(folder.path().join("datasets")).expect("made");
    let shipped =
        TICKETS.to_string() + "[[source]]\nkind = \"path\"\nfolder = \"..\"\nfiles = [{ path = \"tickets.csv\" }]\n";
    std::fs::write(folder.path().join("datasets/tickets.toml"), shipped).expect("written");
    std::fs::write(folder.path().join("my-tickets.toml"), TICKETS).expect("written");
    tasks(folder.path(), "[\"my-tickets.toml\"]");
    // The same column as a task of one table, whose rows without a label have to be said.
    let single = std::fs::read_to_string(folder.path().join("my-task.toml")).expect("read");
    let single = single.replace("[columns]", "[columns]\nignore = [\"\"]");
    std::fs::write(folder.path().join("my-task.toml"), single).expect("written");
    folder
}

/// Gives the recipe other tasks.
fn tasks(folder: &Path, tasks: &str) {
    let text = format!(
        "tasks = {tasks}\ncheckpoint = \"my-model.toml\"\n[train]\nsteps = 4\nbatch = 4\nmax_tokens = 16\n[evaluation]\n\
         every = 2\n"
    );
    std::fs::write(folder.join("my-recipe.toml"), text).expect("written");
}

#[test]
fn a_table_of_several_label_columns_is_several_tasks() {
    let folder = tickets();
    let here = folder.path();
    let table = good(here, &["train", "my-recipe.toml", "--out", "runs/whole"]);
    assert!(table.contains("my-tickets.team") && table.contains("my-tickets.urgency"), "{table}");
    let report = json(&std::fs::read_to_string(here.join("runs/whole/report.json")).expect("a report"));
    let notes = report["notes"].to_string();
    for said in [
        "my-tickets.team: 20 rows have no label of this task",
        "my-tickets.urgency: 25 rows have no label",
        "my-tickets.urgency: targets are standardised by the training split's: mean 1",
    ] {
        assert!(notes.contains(said), "`{said}` is missing in {notes}");
    }
    let scores = good(here, &["evaluate", "runs/whole"]);
    assert!(scores.contains("my-tickets.team: ") && scores.contains("my-tickets.urgency: "), "{scores}");
    let answer = fed(here, &["predict", "runs/whole", "--task", "my-tickets.urgency", "--json"], "a printer\n");
    let value = json(&answer.out)["value"].as_f64().expect("a number");
    assert!((900. ..1200.).contains(&value), "{value} is in the targets' unit");
    refused(here, &["predict", "runs/whole", "--task", "my-tickets.tem"], &["did you mean `my-tickets.team`?"]);

    // One of them, by path and by name; a name for all of them.
    for (named, found) in [
        ("[\"my-tickets.toml:team\"]", "my-tickets.team"),
        ("[\"tickets.team\"]", "tickets.team"),
        ("[\"tickets.urgency\", \"my-task.toml\"]", "tickets.urgency"),
        ("[\"tickets\"]", "tickets.team, tickets.urgency"),
    ] {
        tasks(here, named);
        let audit = json(&good(here, &["data", "check", "my-recipe.toml", "--json"]));
        let names: Vec<&str> =
            audit["tasks"].as_array().into_iter().flatten().filter_map(|t| t["name"].as_str()).collect();
        assert!(names.join(", ").contains(found), "{names:?}");
        assert!(
            audit["overlaps"].as_array().is_some_and(|all| all.iter().all(|o| o["one"][1] == o["other"][1])),
            "{audit}"
        );
    }
    for (named, parts) in [
        ("[\"my-tickets.toml:tema\"]", &["no label column `tema`", "did you mean `team`?"][..]),
        ("[\"tickets.urgncy\"]", &["dataset `tickets`", "did you mean `urgency`?", "team, urgency"]),
        ("[\"tickts.team\"]", &["unknown dataset `tickts`", "did you mean `tickets`?"]),
        ("[\"my-task.toml:team\"]", &["it has one task"]),
    ] {
        tasks(here, named);
        refused(here, &["data", "check", "my-recipe.toml"], parts);
    }
    let set = ["data", "check", "my-recipe.toml", "--json", "--set", "tasks=[\"my-tickets.toml\", \"my-task.toml\"]"];
    tasks(here, "[\"my-task.toml\"]");
    assert_eq!(json(&good(here, &set))["tasks"].as_array().map(Vec::len), Some(3));
    let listed = good(here, &["list", "datasets"]);
    for line in ["tickets ", "tickets.team ", "tickets.urgency "] {
        assert!(listed.lines().any(|found| found.trim_start().starts_with(line)), "{listed}");
    }
    assert!(run(here, &["fetch", "--dataset", "my-tickets.toml"]).error.contains("team: "));
}

#[test]
fn what_a_run_stored_decides_over_what_became_of_its_data() {
    let folder = folder();
    let here = folder.path();
    let task = std::fs::read_to_string(here.join("my-task.toml")).expect("read");
    let labels = |labels: &str| {
        let text = task.replace("[columns]", &format!("labels = {labels}\n[columns]"));
        std::fs::write(here.join("my-task.toml"), text).expect("written");
    };
    labels("[\"desk\", \"lines\"]");
    good(here, &["train", "my-recipe.toml", "--out", "run"]);
    let scores = good(here, &["evaluate", "run", "--split", "test"]);
    let again = ["train", "my-recipe.toml", "--out", "run", "--resume"];
    for changed in ["[\"lines\", \"desk\"]", "[\"desk\", \"wires\"]", "[\"desk\", \"lines\", \"none\"]"] {
        labels(changed);
        for command in [&["evaluate", "run"][..], &again] {
            refused(here, command, &["dataset `my-task`", "label list", "desk, lines", "fingerprint", "train anew"]);
        }
    }
    labels("[\"desk\", \"lines\"]");
    let rows = std::fs::read_to_string(here.join("tickets.csv")).expect("read");
    std::fs::write(here.join("tickets.csv"), format!("{rows}60,one more,desk\n")).expect("written");
    for command in [&["evaluate", "run"][..], &again] {
        refused(here, command, &["tickets.csv", "SHA-256 was", "and is", "restore it"]);
    }
    // The run folder is enough to answer.
    std::fs::remove_file(here.join("tickets.csv")).expect("removed");
    assert_eq!(fed(here, &["predict", "run", "--task", "my-task"], "a printer\n").code, Some(0));
    std::fs::write(here.join("tickets.csv"), rows).expect("written");
    let seeded = std::fs::read_to_string(here.join("my-task.toml")).expect("read");
    std::fs::write(here.join("my-task.toml"), seeded.replace("[splits]", "[splits]\nseed = 5")).expect("written");
    for command in [&["evaluate", "run"][..], &again] {
        refused(here, command, &["split is not that of the run", "rows of fingerprint"]);
    }
    labels("[\"desk\", \"lines\"]");
    assert_eq!(good(here, &["evaluate", "run", "--split", "test"]), scores);
    good(here, &again);
}
